"""Distillation: the predictions of trained nets as part of the targets (arXiv:1503.02531).

M labelled faces, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from fecnet.config.node import Frozen
from fecnet.data.build import build_views
from fecnet.data.label_overlay import LabelOverlay
from fecnet.data.packed import PackedDataset
from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.predict import predict
from fecnet.runs.tasks import Task
from fecnet.utils.errors import ConfigError

logger = logging.getLogger(__name__)


def check_teachers(cfg: Frozen, task: Task) -> None:
    """Check the settings of distillation.

    Raises:
        ConfigError: teachers without a criterion that reads distributions, or a share that is out of range or not used.
    """
    names, share = list(cfg.DATA.TEACHERS), cfg.DATA.TEACHER_SHARE
    if not names and share != 0.5:
        raise ConfigError(f"DATA.TEACHER_SHARE: {share} is not used without DATA.TEACHERS; allowed here: 0.5")
    if names and "distribution" not in task.targets:
        raise ConfigError(
            f"DATA.TEACHERS: {names}, but LOSS.CRITERIA {list(cfg.LOSS.CRITERIA)} reads no distributions; allowed "
            "here: none, or add soft_targets or hellinger"
        )
    if not 0 < share <= 1:
        raise ConfigError(f"DATA.TEACHER_SHARE: {share}; allowed: above 0, at most 1")


def learn_from_teachers(cfg: Frozen, dataset: PackedDataset, labels: LabelOverlay, device: torch.device) -> None:
    """Mix the mean prediction of ``DATA.TEACHERS`` for each training face into its distribution.

    Each teacher sees a face and its mirror image. A resumed run predicts again, so the teachers must still be there.

    Raises:
        ConfigError: a teacher has other classes, or was trained on faces of another shape.
        CheckpointError: no such run or checkpoint.
    """
    if not cfg.DATA.TEACHERS:
        return
    parts = [_predict(path, dataset, labels, cfg.EVAL.BATCH_SIZE, device) for path in cfg.DATA.TEACHERS]
    labels.mix_distribution(np.mean(parts, axis=0), cfg.DATA.TEACHER_SHARE)
    logger.info(
        f"{cfg.DATA.TRAIN_SPLIT}: {cfg.DATA.TEACHER_SHARE:.0%} of each distribution is predicted by "
        f"{', '.join(cfg.DATA.TEACHERS)}"
    )


def _predict(
    path: str, dataset: PackedDataset, labels: LabelOverlay, batch_size: int, device: torch.device
) -> np.ndarray:
    """Probabilities of the classes, float32, shape (M, K)."""
    saved = open_saved_net(path)
    seen, here = saved.info.preprocessing, dataset.description
    _check_same(path, "classes", saved.info.classes, list(labels.classes))
    _check_same(path, "channels", list(seen.channels), list(here["channels"]))
    _check_same(path, "size", [seen.height, seen.width], [here["height"], here["width"]])
    views = build_views(saved.info.settings(["EVAL.TTA", "flip"]), seen.height, seen.width)
    outputs = predict(
        saved.net.to(device),
        dataset.faces_NHWC,
        labels.rows_M,
        views=views,
        batch_size=batch_size,
        device=device,
        progress=path,
    )
    return outputs["logits"].softmax(dim=1).numpy()


def _check_same(path: str, what: str, theirs: Sequence[object], ours: Sequence[object]) -> None:
    if list(theirs) != list(ours):
        told = ", ".join(map(str, theirs)) or "none"
        raise ConfigError(f"DATA.TEACHERS: {path} has the {what} {told}; here: {', '.join(map(str, ours))}")
