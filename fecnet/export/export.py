"""``fecnet export``: a trained net as a file for others, held against the net it was made of before it is there."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn

from fecnet.config.node import Frozen, load_config
from fecnet.data.build import build_trained_rows
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import is_exported_file, load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.engine.checkpoint import find_checkpoint, home_of, load_meta
from fecnet.engine.evaluator import Evaluator, TripletMetric
from fecnet.export.agreement import Agreement, Arrays, judged_alike, largest_differences, timed_outputs
from fecnet.export.bundle import is_bundle_alone, make_bundle
from fecnet.export.graph import Save, Source
from fecnet.export.int8 import make_int8
from fecnet.export.onnx import make_onnx
from fecnet.export.program import make_program
from fecnet.runs.tasks import build_evaluator, check_classes, find_task
from fecnet.synthetic.expressions import sample_expressions
from fecnet.synthetic.rendering import render_faces, sample_identities
from fecnet.utils.env import now
from fecnet.utils.errors import UserError
from fecnet.utils.files import whole_or_absent
from fecnet.utils.lookup import lookup
from fecnet.utils.package import VERSION

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5  # largest difference of what a file says that computes in float32: see _FIGURES
TOLERANCE_INSIDE = 1e-3  # and of its other outputs, such as the feature, whose rounding the last layer evens out
ALIKE = 99.9  # least per cent of triplets and classes on which such a file agrees with the net
_CALIBRATION = 512  # faces for int8
_DRAWN = 300  # faces to check with where there are none
_UNJUDGED = 5000  # faces, about, of a set that does not say what is right
_RANDOM = 10_000  # triplets of faces that nobody judged
_FIGURES = {"embedding": "ALL", "logits": "accuracy", "valence_arousal": "ccc"}  # by output


class _Format(NamedTuple):
    make: Callable[[Source], Save]
    ending: str  # of its file; empty = a folder
    name: str  # of what is written where no other is given, after that of the run
    exact: bool  # computes in float32


FORMATS = {
    "bundle": _Format(make_bundle, "", "-bundle", True),
    "onnx": _Format(make_onnx, ".onnx", ".onnx", True),
    "torch": _Format(make_program, ".pt2", ".pt2", True),
    "int8": _Format(make_int8, ".onnx", "-int8.onnx", False),
}


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: file or folder.
        megabytes: on disk.
        agreement: with the net it was made of.
    """

    path: Path
    megabytes: float
    agreement: Agreement


def export_run(
    path: str,
    kind: str,
    *,
    output: str = "",
    checkpoint: str = "best",
    raw: bool = False,
    check: str = "",
    calibrate: str = "",
    overwrite: bool = False,
    progress: bool = True,
) -> Exported:
    """Write a trained net in another format, open it as ``fecnet.load`` does, and compare the two on real faces.

    Args:
        path: run or checkpoint folder.
        kind: of ``FORMATS``.
        output: file or folder to write; empty for one beside the run.
        checkpoint: ``best`` or ``last`` checkpoint of a run.
        raw: put the preprocessing into the graph.
        check: packed set to compare on; empty for that of the run.
        calibrate: packed set for int8; empty for the training faces of the run.
        overwrite: replace what stands at ``output``.
        progress: show bars.

    Raises:
        UserError: no checkpoint, one of another format version, something that cannot be exported, or a file that
            does not see faces as the net does: then none is left.
        OSError: the disk is full or read-only.
    """
    form = lookup(FORMATS, kind, key="format")
    if is_exported_file(path):
        raise UserError(f"{path}: an exported file; allowed: the run or checkpoint folder that it was made of")
    folder = find_checkpoint(path, checkpoint)
    meta = load_meta(folder)
    cfg = load_config(base=meta["config"], base_name=f"{folder}/meta.json")
    target = _target(output, folder, form, overwrite=overwrite)
    encoder = load_encoder(folder, device="cpu")
    faces = _faces(cfg, encoder, folder, check)
    source = Source(
        cast(nn.Module, encoder.model),
        encoder.views,
        encoder.face_shape,
        raw,
        str(folder),
        folder,
        None if form.exact else _calibration(cfg, encoder, calibrate),
    )
    save = form.make(source)
    described = {
        **meta,
        "export": {
            "name": target.name,
            "kind": kind,
            "raw": raw,
            "source": f"{home_of(folder).resolve().name}, iteration {meta['iteration']}",
            "fecnet": VERSION,
            "date": now(),
        },
    }
    with _beside(target) as partial:
        save(partial, described)
        agreement = _compare(encoder, load_encoder(partial, device="cpu"), faces, progress=progress)
        if form.exact:
            _check_exact(agreement, target)
        save(partial, {**described, "export": {**described["export"], "checked": agreement.to_dict()}})
        with whole_or_absent(target) as place:
            partial.replace(place)
    exported = Exported(target, _bytes(target) / 1e6, agreement)
    logger.info(f"{target}: {exported.megabytes:.1f} MB\n{agreement.text()}")
    return exported


def _target(output: str, checkpoint: Path, form: _Format, *, overwrite: bool) -> Path:
    """Where to write, checked before any work is done."""
    base = home_of(checkpoint)
    target = Path(output) if output else base.with_name(f"{base.name}{form.name}")
    if target.suffix != form.ending and (form.ending or is_exported_file(target)):
        raise UserError(f"{target}: allowed for this format: {f'a file *{form.ending}' if form.ending else 'a folder'}")
    if target.exists():
        if not overwrite:
            raise UserError(f"{target}: exists already; use --overwrite to replace it")
        if target.is_dir() and (form.ending or not is_bundle_alone(target)):
            raise UserError(f"{target}: a folder that this command did not make, or not alone; it is not replaced")
    return target


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path of the same name in a folder that is gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".partial", dir=target.parent) as folder:
        yield Path(folder) / target.name


class _Faces(NamedTuple):
    """Faces to compare two nets on.

    Attributes:
        told: which, in words.
        faces_NHWC: stored faces, uint8.
        rows_N: which of them.
        triplets_T3: of rows, as indices into ``rows_N``.
        evaluator: says what is right about ``rows_N``; None where nothing does.
    """

    told: str
    faces_NHWC: np.ndarray
    rows_N: np.ndarray
    triplets_T3: np.ndarray
    evaluator: Evaluator | None


def _faces(cfg: Frozen, encoder: Encoder, checkpoint: Path, check: str) -> _Faces:
    """The faces of the last split that the run reports; drawn ones where its data are not here.

    Raises:
        UserError: another set is asked for, and is not there or has other faces.
    """
    path = Path(check or cfg.DATA.PATH)
    if not check and not (path / "dataset.json").is_file():
        logger.info(f"{path}: not here, so the file is checked on drawn faces; --check DATASET takes real ones")
        return _drawn_faces(encoder)
    dataset = PackedDataset(path)
    encoder.check_faces(dataset)
    split = cfg.DATA.REPORT_SPLITS[-1]
    try:
        task = find_task(cfg, dataset)
        check_classes(checkpoint, load_meta(checkpoint), dataset, task)
        evaluator = build_evaluator(cfg, dataset, [split], torch.device("cpu"), task=task)
    except UserError as error:
        logger.info(f"{error}; so accuracy is not measured")
        rows_N = np.arange(0, len(dataset.faces_NHWC), max(1, len(dataset.faces_NHWC) // _UNJUDGED))
        return _Faces(
            f"{len(rows_N):,} faces of {path}", dataset.faces_NHWC, rows_N, _random_triplets(len(rows_N)), None
        )
    rows_N = evaluator.rows
    judged = any(isinstance(metric, TripletMetric) for metric in evaluator.metrics)
    triplets_T3 = np.searchsorted(rows_N, dataset.triplets(split).faces_T3) if judged else _random_triplets(len(rows_N))
    told = f"{len(rows_N):,} faces of {path}, split {split}"
    return _Faces(told, dataset.faces_NHWC, rows_N, triplets_T3, evaluator)


def _drawn_faces(encoder: Encoder) -> _Faces:
    """Faces as ``fecnet prepare synthetic`` draws them, in the channels of the net; a mask is all there."""
    drawn_NSS3 = render_faces(
        sample_identities(_DRAWN, 0), sample_expressions(_DRAWN, 0)[0], size=encoder.face_shape[0]
    )
    by_channel = {"grey": drawn_NSS3.mean(3).astype(np.uint8), "mask": np.full(drawn_NSS3.shape[:3], 255, np.uint8)}
    by_channel |= {name: drawn_NSS3[..., place] for place, name in enumerate("RGB")}
    faces_NHWC = np.stack([by_channel[name] for name in encoder.channels], axis=-1)
    told = f"{_DRAWN:,} DRAWN faces, no real ones"
    return _Faces(told, faces_NHWC, np.arange(_DRAWN), _random_triplets(_DRAWN), None)


def _random_triplets(num: int) -> np.ndarray:
    """Triplets of ``num`` faces, shape (T, 3)."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(num)[:3] for _ in range(min(_RANDOM, num**2))])


def _calibration(cfg: Frozen, encoder: Encoder, calibrate: str) -> np.ndarray:
    """Faces that were learnt from, evenly spread; of another set any.

    Raises:
        UserError: no data set there, or one with other faces.
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
        rows = build_trained_rows(cfg, dataset, task.targets, triplets=task.has_triplets)
    places = np.linspace(0, len(rows) - 1, min(len(rows), _CALIBRATION)).astype(int)
    return dataset.faces_NHWC[rows[places]]


def _compare(encoder: Encoder, exported: Encoder, faces: _Faces, *, progress: bool) -> Agreement:
    stored = faces.faces_NHWC, faces.rows_N
    ours, our_rate = timed_outputs(encoder, *stored, "the net" if progress else "")
    theirs, their_rate = timed_outputs(exported, *stored, "the file" if progress else "")
    before, after = (_percent(faces.evaluator, outputs) for outputs in (ours, theirs))
    return Agreement(
        faces.told,
        largest_differences(ours, theirs),
        judged_alike(ours, theirs, faces.triplets_T3),
        {name: (before[name], after[name]) for name in before},
        (our_rate, their_rate),
        torch.get_num_threads(),
    )


def _percent(evaluator: Evaluator | None, outputs: Arrays) -> dict[str, float]:
    """The percentage of each metric."""
    found = {}
    for metric in evaluator.metrics if evaluator else ():
        part = evaluator.part({metric.output: torch.from_numpy(outputs[metric.output])}, metric)  # type: ignore[union-attr]
        (measured,) = metric.measure(part).values()
        name = _FIGURES[metric.output]
        value = measured.figures()[name]
        if value is not None:
            found["triplets ALL" if name == "ALL" else name] = value
    return found


def _check_exact(agreement: Agreement, target: Path) -> None:
    """Raise UserError where a file of float32 is not what the net is."""
    said = agreement.text().replace("\n", "; ")
    for name, difference in agreement.differences.items():
        allowed = TOLERANCE if name in _FIGURES else TOLERANCE_INSIDE
        if not difference <= allowed:
            raise UserError(f"{target}: not written: '{name}' differs from the net's by more than {allowed:g}: {said}")
    if any(alike.percent < ALIKE for alike in agreement.alike.values()):
        raise UserError(f"{target}: not written: less than {ALIKE:g} % judged alike: {said}")


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
