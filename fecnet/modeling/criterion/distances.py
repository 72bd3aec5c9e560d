"""The distances between classes of ``LOSS.WASSERSTEIN_COST``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fecnet.modeling.criterion.wasserstein import LearnedDistances, centroid_distances, confusion_distances
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.files import open_array
from fecnet.utils.lookup import lookup


def build_distances(kind: str, classes: Sequence[str], confusion: str = "") -> Tensor | LearnedDistances:
    """Distances between classes for the Wasserstein criterion.

    Args:
        kind: learned, centroid or confusion.
        classes: names in label order, at least two.
        confusion: for kind confusion: a file of counts by label and prediction on the training set, ``.npy``, or text
            with one line per label and comma-separated values.

    Raises:
        UserError: an unknown kind, a class without a centroid, or a file that this kind does not use, that is missing
            or has the wrong shape.
    """
    if confusion and kind != "confusion":
        raise ConfigError(
            f"LOSS.WASSERSTEIN_CONFUSION: {confusion!r} is not used by LOSS.WASSERSTEIN_COST {kind}; allowed here: ''"
        )
    choices: dict[str, Callable[[], Tensor | LearnedDistances]] = {
        "learned": lambda: LearnedDistances(len(classes)),
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
