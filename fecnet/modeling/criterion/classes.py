"""The criteria of the classifiers by name, from plain keywords whose names are config keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from fecnet.modeling.criterion.cross_entropy import CrossEntropyCriterion
from fecnet.modeling.criterion.ran import RegionBiasCriterion
from fecnet.modeling.criterion.scn import ScnCriterion
from fecnet.modeling.criterion.soft_targets import SoftTargetCriterion
from fecnet.modeling.criterion.valence_arousal import ValenceArousalCriterion
from fecnet.modeling.criterion.wasserstein import (
    FreeDistances,
    WassersteinCriterion,
    centroid_distances,
    confusion_distances,
)
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.files import open_array
from fecnet.utils.lookup import lookup

CLASS_CRITERIA = ("cross_entropy", "soft_targets", "scn", "ran", "wasserstein", "valence_arousal")


def build_class_criterion(
    name: str,
    classes: Sequence[str],
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    hardest: float = 1.0,
    scn_beta: float = 0.7,
    scn_margin_1: float = 0.07,
    scn_margin_2: float = 0.2,
    relabel_after: int | None = None,
    ran_margin: float = 0.02,
    wasserstein: str = "centroid",
    confusion: str = "",
    ccc: bool = False,
) -> nn.Module:
    """The criterion called ``name``.

    Args:
        name: one of ``CLASS_CRITERIA``.
        classes: names in label order.
        label_smoothing: LOSS.LABEL_SMOOTHING.
        class_weights: one per class, or None; LOSS.CLASS_WEIGHTS.
        hardest: LOSS.OHEM_RATIO.
        scn_beta: LOSS.SCN_BETA.
        scn_margin_1: LOSS.SCN_MARGIN_1.
        scn_margin_2: LOSS.SCN_MARGIN_2.
        relabel_after: LOSS.SCN_RELABEL_AFTER in iterations, None = never.
        ran_margin: LOSS.RAN_MARGIN.
        wasserstein: LOSS.WASSERSTEIN_COST: learned, centroid or confusion.
        confusion: file of the training set's confusion matrix, LOSS.WASSERSTEIN_CONFUSION.
        ccc: LOSS.CCC.

    Raises:
        UserError: an unknown name, a value out of range, or a confusion matrix that does not fit.
    """
    _check("LABEL_SMOOTHING", label_smoothing, 0 <= label_smoothing < 1, "0 or more, below 1")
    _check("OHEM_RATIO", hardest, 0 < hardest <= 1, "above 0, at most 1")
    _check("SCN_BETA", scn_beta, 0 < scn_beta < 1, "above 0, below 1")
    for key, value in (("SCN_MARGIN_1", scn_margin_1), ("SCN_MARGIN_2", scn_margin_2), ("RAN_MARGIN", ran_margin)):
        _check(key, value, 0 <= value <= 1, "0..1, since importances and probabilities are")
    if class_weights is not None:
        fits = len(class_weights) == len(classes) and min(class_weights) >= 0 and max(class_weights) > 0
        _check("CLASS_WEIGHTS", list(class_weights), fits, f"one of 0 or more for each of {', '.join(classes)}")
    choices: dict[str, Callable[[], nn.Module]] = {
        "cross_entropy": lambda: CrossEntropyCriterion(
            label_smoothing=label_smoothing, class_weights=class_weights, hardest=hardest
        ),
        "soft_targets": SoftTargetCriterion,
        "scn": lambda: ScnCriterion(
            beta=scn_beta, margin_1=scn_margin_1, margin_2=scn_margin_2, relabel_after=relabel_after
        ),
        "ran": lambda: RegionBiasCriterion(margin=ran_margin),
        "wasserstein": lambda: WassersteinCriterion(build_distances(wasserstein, classes, confusion)),
        "valence_arousal": lambda: ValenceArousalCriterion(ccc=ccc),
    }
    return lookup(choices, name, key="LOSS.CRITERIA")()


def build_distances(kind: str, classes: Sequence[str], confusion: str = "") -> Tensor | FreeDistances:
    """Distances between classes for the Wasserstein criterion.

    Args:
        kind: learned, centroid or confusion.
        classes: names in label order, at least two.
        confusion: of kind confusion: a file of counts by label and prediction on the training set, ``.npy``, or text
            with a line per label and commas between.

    Raises:
        UserError: an unknown kind, a class without a centroid, or a file that is missing or does not fit.
    """
    choices: dict[str, Callable[[], Tensor | FreeDistances]] = {
        "learned": lambda: FreeDistances(len(classes)),
        "centroid": lambda: centroid_distances(classes),
        "confusion": lambda: _distances_of_file(confusion, len(classes)),
    }
    return lookup(choices, kind, key="LOSS.WASSERSTEIN_COST")()


def _distances_of_file(confusion: str, num_classes: int) -> Tensor:
    if not confusion:
        raise ConfigError(
            "LOSS.WASSERSTEIN_CONFUSION: ''; LOSS.WASSERSTEIN_COST confusion needs the training set's confusion matrix"
        )
    path = Path(confusion)
    try:
        confusion_KK = open_array(path, in_memory=True) if path.suffix == ".npy" else _read_numbers(path)
        if confusion_KK.shape != (num_classes, num_classes):
            raise UserError(f"shape {confusion_KK.shape}; expected {(num_classes, num_classes)}")
        return confusion_distances(confusion_KK)
    except (OSError, UserError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise ConfigError(f"LOSS.WASSERSTEIN_CONFUSION: '{path}': {reason}") from error


def _read_numbers(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error}") from error
    if not any(line.strip() for line in lines):
        raise UserError("empty; allowed: a line of numbers for each class")
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check(name: str, value: object, is_allowed: bool, allowed: str) -> None:
    if not is_allowed:
        raise ConfigError(f"LOSS.{name}: {value}; allowed: {allowed}")
