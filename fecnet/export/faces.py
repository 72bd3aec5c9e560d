"""The faces that an export is verified on, and those that int8 is calibrated on.

Shape suffixes: N faces, T triplets, H, W, C height, width and channels of stored faces, S their side.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fecnet.config.node import Frozen
from fecnet.data.build import build_trained_rows
from fecnet.data.packed import PackedDataset
from fecnet.encoder.encoder import Encoder
from fecnet.engine.description import CheckpointInfo
from fecnet.engine.evaluator import Evaluator, TripletMetric
from fecnet.runs.tasks import build_evaluator, check_classes, find_task, triplets_of
from fecnet.synthetic.expressions import sample_expressions
from fecnet.synthetic.rendering import render_faces, sample_identities
from fecnet.utils.errors import UserError

logger = logging.getLogger(__name__)

_CALIBRATION = 512  # faces for int8
_RENDERED = 300  # number of synthetic faces, used where the run's data are absent
_UNLABELLED = 5000  # approximate number of faces used of a set without ground truth
_RANDOM = 10_000  # random triplets of faces without annotated triplets


class CheckFaces(NamedTuple):
    """Faces to compare two nets on.

    Attributes:
        description: the faces in words.
        faces_NHWC: stored faces, uint8.
        rows_N: rows of the faces that are compared, shape (N,).
        triplets_T3: triplets, as indices into ``rows_N``, shape (T, 3).
        evaluator: evaluator of ``rows_N``; None without ground truth.
    """

    description: str
    faces_NHWC: np.ndarray
    rows_N: np.ndarray
    triplets_T3: np.ndarray
    evaluator: Evaluator | None


def choose_faces(cfg: Frozen, encoder: Encoder, info: CheckpointInfo, check: str) -> CheckFaces:
    """The faces of the last split that the run reports; synthetic ones where its data are absent.

    Args:
        cfg: settings of the run.
        encoder: the net.
        info: description of its checkpoint.
        check: another packed set whose faces are used; empty for that of the run.

    Raises:
        UserError: the given set does not exist or has faces of another shape.
    """
    path = Path(check or cfg.DATA.PATH)
    if not check and not (path / "dataset.json").is_file():
        logger.info(f"{path}: not here, so the file is verified on synthetic faces; --check DATASET takes real ones")
        return _rendered_faces(encoder)
    dataset = PackedDataset(path)
    encoder.check_faces(dataset)
    split = cfg.DATA.REPORT_SPLITS[-1]
    try:
        task = find_task(cfg, dataset)
        check_classes(info, dataset, task)
        evaluator = build_evaluator(cfg, dataset, [split], torch.device("cpu"), task=task)
    except UserError as error:
        logger.info(f"{error}; so metrics are not computed")
        rows_N = np.arange(0, len(dataset.faces_NHWC), max(1, len(dataset.faces_NHWC) // _UNLABELLED))
        return CheckFaces(
            f"{len(rows_N):,} faces of {path}", dataset.faces_NHWC, rows_N, _random_triplets(len(rows_N)), None
        )
    rows_N = evaluator.rows
    has_triplets = any(isinstance(metric, TripletMetric) for metric in evaluator.metrics)
    triplets_T3 = _random_triplets(len(rows_N))
    if has_triplets:
        triplets_T3 = np.searchsorted(rows_N, triplets_of(cfg, dataset, split, task).faces_T3)
    description = f"{len(rows_N):,} faces of {path}, split {split}"
    return CheckFaces(description, dataset.faces_NHWC, rows_N, triplets_T3, evaluator)


def _rendered_faces(encoder: Encoder) -> CheckFaces:
    """Synthetic faces with the channels of the net; a mask channel is 255 everywhere."""
    rendered_NSS3 = render_faces(
        sample_identities(_RENDERED, 0), sample_expressions(_RENDERED, 0)[0], size=encoder.face_shape[0]
    )
    by_channel = {
        "grey": rendered_NSS3.mean(3).astype(np.uint8),
        "mask": np.full(rendered_NSS3.shape[:3], 255, np.uint8),
    }
    by_channel |= {name: rendered_NSS3[..., place] for place, name in enumerate("RGB")}
    faces_NHWC = np.stack([by_channel[name] for name in encoder.channels], axis=-1)
    description = f"{_RENDERED:,} SYNTHETIC faces, no real ones"
    return CheckFaces(description, faces_NHWC, np.arange(_RENDERED), _random_triplets(_RENDERED), None)


def _random_triplets(num: int) -> np.ndarray:
    """Triplets of ``num`` faces, shape (T, 3)."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(num)[:3] for _ in range(min(_RANDOM, num**2))])


def calibration_faces(cfg: Frozen, encoder: Encoder, calibrate: str) -> np.ndarray:
    """Training faces, evenly sampled, uint8, shape (N, H, W, C); faces of all splits for another data set.

    Args:
        cfg: settings of the run.
        encoder: the net.
        calibrate: another packed set; empty for that of the run.

    Raises:
        UserError: no such data set, or its faces have another shape.
    """
    path = Path(calibrate or cfg.DATA.PATH)
    if not (path / "dataset.json").is_file():
        raise UserError(f"{path}: not here, but int8 is calibrated on training faces; give --calibrate DATASET")
    dataset = PackedDataset(path)
    encoder.check_faces(dataset)
    if calibrate:
        rows = np.arange(len(dataset.faces_NHWC))
    else:
        task = find_task(cfg, dataset)
        rows = build_trained_rows(cfg, dataset, task.targets, triplets=task.triplets)
    places = np.linspace(0, len(rows) - 1, min(len(rows), _CALIBRATION)).astype(int)
    return dataset.faces_NHWC[rows[places]]
