"""The distances between classes of ``LOSS.WASSERSTEIN_COST``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fecnet.modeling.criterion.wasserstein import LearnedDistances, centroid_distances, confusion_distances
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.files import open_array
from fecnet.utils.lookup import lookup
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)


def build_distances(kind: str, classes: Sequence[str], confusion: str = "") -> Tensor | LearnedDistances:
    """Distances between classes for the Wasserstein criterion.

    Args:
        kind: learned, centroid or confusion.
        classes: names in label order, at least two.
        confusion: for kind confusion: a file of counts by label and prediction on the training set, ``.npy``, or text
            with one line per label and comma-separated values. Where its first line is a comment (#) with the names of
            the classes, they may be in another order.

    Raises:
        UserError: an unknown kind, a class without a centroid, or a file that this kind does not use, that is missing,
            has the wrong shape or belongs to other classes.
    """
    if confusion and kind != "confusion":
        raise ConfigError(
            f"LOSS.WASSERSTEIN_CONFUSION: {shown(confusion)} is not used by LOSS.WASSERSTEIN_COST {kind}; "
            "allowed here: ''"
        )
    choices: dict[str, Callable[[], Tensor | LearnedDistances]] = {
        "learned": lambda: LearnedDistances(len(classes)),
        "centroid": lambda: centroid_distances(classes),
        "confusion": lambda: _distances_of_file(confusion, classes),
    }
    return lookup(choices, kind, key="LOSS.WASSERSTEIN_COST")()


def _distances_of_file(confusion: str, classes: Sequence[str]) -> Tensor:
    if not confusion:
        raise ConfigError(
            "LOSS.WASSERSTEIN_CONFUSION: ''; LOSS.WASSERSTEIN_COST confusion needs the training set's confusion matrix"
        )
    path = Path(confusion)
    try:
        names, confusion_KK = ([], open_array(path, in_memory=True)) if path.suffix == ".npy" else _read_text(path)
        if confusion_KK.shape != (len(classes), len(classes)):
            raise UserError(f"shape {confusion_KK.shape}; expected {(len(classes), len(classes))}")
        if names:
            confusion_KK = _in_order(confusion_KK, names, classes)
        else:
            logger.info(f"{path}: names no classes; its rows and columns are taken for {', '.join(classes)}")
        return confusion_distances(confusion_KK)
    except (OSError, UserError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise ConfigError(f"LOSS.WASSERSTEIN_CONFUSION: '{path}': {reason}") from error


def _in_order(confusion_KK: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The matrix with its rows and columns in the order of ``classes``."""
    if sorted(names) != sorted(classes):
        raise UserError(f"of the classes {', '.join(names)}; allowed: {', '.join(classes)}, in any order")
    order = [names.index(name) for name in classes]
    return confusion_KK[np.ix_(order, order)]


def _read_text(path: Path) -> tuple[list[str], np.ndarray]:
    """The names of the classes, if there are any, and the numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error}") from error
    if not any(line.strip() for line in lines):
        raise UserError("empty; allowed: a line of numbers for each class")
    named = lines[0].startswith("#")
    names = [name.strip() for name in lines[0].removeprefix("#").split(",")] if named else []
    try:
        return names, np.loadtxt(lines, delimiter=",", ndmin=2)
    except ValueError as error:
        raise UserError(str(error)) from error
