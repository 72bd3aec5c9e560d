"""Reads and validates the labels of a packed data set.

Shape suffixes: M labelled faces of a split, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fecnet.utils.errors import DataError
from fecnet.utils.files import read_arrays

_SUM_TOLERANCE = 1e-3  # shares are float32 and may have been rounded to four digits


@dataclass(frozen=True)
class LabelTable:
    """The labels of one split, as arrays over M faces.

    Attributes:
        classes: K names in label order.
        faces_M: rows of ``faces.npy``, shape (M,).
        label_M: class index, -1 = absent, shape (M,).
        distribution_MK: share of the votes per class, or None; a row of NaN = absent.
        valence_arousal_M2: both in -1..1, or None; a row of NaN = absent.
    """

    classes: tuple[str, ...]
    faces_M: np.ndarray
    label_M: np.ndarray
    distribution_MK: np.ndarray | None = None
    valence_arousal_M2: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.label_M)


def read_labels(path: Path, classes: Sequence[str], num_faces: int) -> LabelTable:
    """The labels in ``path``.

    Args:
        path: ``labels/<set>/<split>.npz``.
        classes: K names in label order, of ``dataset.json``.
        num_faces: rows of ``faces.npy``.

    Raises:
        DataError: unreadable, shapes that do not fit, or values out of range.
    """
    arrays = read_arrays(path, ("faces", "label"), optional=("distribution", "valence_arousal"), kind="label file")
    faces_M, label_M = arrays["faces"], arrays["label"]
    if faces_M.ndim != 1 or faces_M.shape != label_M.shape:
        raise DataError(
            f"{path}: 'faces' and 'label' have shapes {faces_M.shape}, {label_M.shape}; expected (M,) twice"
        )
    if faces_M.dtype.kind not in "iu" or label_M.dtype.kind not in "iu":
        raise DataError(f"{path}: 'faces' and 'label' must hold whole numbers")
    for name, values, low, high in (("faces", faces_M, 0, num_faces), ("label", label_M, -1, len(classes))):
        wrong_M = (values < low) | (values >= high)
        if wrong_M.any():
            bad = int(wrong_M.argmax())
            raise DataError(f"{path}: place {bad}: '{name}' is {values[bad]}; allowed: {low}..{high - 1}")
    distribution, valence_arousal = arrays.get("distribution"), arrays.get("valence_arousal")
    if distribution is not None:
        _check_rows(path, "distribution", distribution, (len(faces_M), len(classes)), low=0)
        _check_sums(path, distribution)
    if valence_arousal is not None:
        _check_rows(path, "valence_arousal", valence_arousal, (len(faces_M), 2), low=-1)
    return LabelTable(tuple(classes), faces_M, label_M, distribution, valence_arousal)


def _check_rows(path: Path, name: str, values_MX: np.ndarray, shape: tuple[int, int], *, low: int) -> None:
    """Check that each row is all NaN, or numbers in ``low``..1."""
    if values_MX.shape != shape or values_MX.dtype.kind != "f":
        raise DataError(f"{path}: '{name}' is {values_MX.dtype} of shape {values_MX.shape}; expected floats, {shape}")
    in_range_M = ((values_MX >= low) & (values_MX <= 1)).all(axis=1)
    wrong_M = ~(in_range_M | np.isnan(values_MX).all(axis=1))
    if wrong_M.any():
        bad = int(wrong_M.argmax())
        raise DataError(f"{path}: place {bad}: '{name}' is {values_MX[bad].tolist()}; allowed: {low}..1, or all NaN")


def _check_sums(path: Path, distribution_MK: np.ndarray) -> None:
    sum_M = distribution_MK.sum(axis=1, dtype=np.float64)
    wrong_M = np.abs(sum_M - 1) > _SUM_TOLERANCE  # false where absent
    if wrong_M.any():
        bad = int(wrong_M.argmax())
        raise DataError(f"{path}: place {bad}: 'distribution' sums to {sum_M[bad]:.4g}; allowed: 1, or all NaN")
