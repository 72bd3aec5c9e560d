"""How often the class with the highest logit is the label, by class.

Shape suffixes: N faces, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns, decimal

FIGURES = ("accuracy", "mean_class_accuracy", "macro_f1")


@dataclass(frozen=True, eq=False)
class ClassAccuracy:
    """Counts of labelled faces.

    Attributes:
        classes: K names in label order.
        confusion_KK: faces by label (row) and by predicted class (column), int64.
    """

    classes: tuple[str, ...]
    confusion_KK: np.ndarray

    @property
    def total_K(self) -> np.ndarray:
        """Faces of each class."""
        return self.confusion_KK.sum(1)

    @property
    def right_K(self) -> np.ndarray:
        """Faces of each class that are recognised."""
        return self.confusion_KK.diagonal()

    @property
    def predicted_K(self) -> np.ndarray:
        """Faces that are called each class."""
        return self.confusion_KK.sum(0)

    def recall_K(self) -> np.ndarray:
        """Per cent of each class's faces that are recognised; NaN where it has no face."""
        return _percent(self.right_K, self.total_K)

    def precision_K(self) -> np.ndarray:
        """Per cent right of the faces that are called each class; NaN where none is."""
        return _percent(self.right_K, self.predicted_K)

    def f1_K(self) -> np.ndarray:
        """Harmonic mean of recall and precision, per cent; NaN where a class has no face and none is called so."""
        return _percent(2 * self.right_K, self.total_K + self.predicted_K)

    def confusion_percent(self) -> np.ndarray:
        """The confusion matrix in per cent of each label's faces; NaN where a class has no face. Shape (K, K)."""
        return np.stack([_percent(called_K, self.total_K) for called_K in self.confusion_KK.T], axis=1)

    def figures(self) -> dict[str, float | None]:
        """Per cent by the names of ``FIGURES``.

        Means over classes are over those that have faces: what is not there can be neither right nor wrong.
        """
        there_K = self.total_K > 0
        if not there_K.any():
            return dict.fromkeys(FIGURES)
        accuracy = 100 * self.right_K.sum() / self.total_K.sum()
        values = (accuracy, self.recall_K()[there_K].mean(), self.f1_K()[there_K].mean())
        return {name: round(float(value), 4) for name, value in zip(FIGURES, values, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the figures, the classes in order, right and total of each, and the confusion matrix."""
        return {
            **self.figures(),
            "classes": list(self.classes),
            "right": self.right_K.tolist(),
            "total": self.total_K.tolist(),
            "confusion": self.confusion_KK.tolist(),
        }


def class_accuracy(logits_NK: Tensor, label_N: np.ndarray, classes: Sequence[str]) -> ClassAccuracy:
    """Count faces by label and predicted class, the first of equal ones.

    Args:
        logits_NK: float, shape (N, K).
        label_N: class of each face, -1 = unknown and not counted, shape (N,).
        classes: K names in label order.

    Raises:
        UserError: a logit is not finite.
    """
    logits = logits_NK.numpy()
    bad_N = ~np.isfinite(logits).all(1)
    if bad_N.any():
        raise UserError(f"the logits of face {int(bad_N.argmax())} are not finite")
    known_N, num = label_N >= 0, len(classes)
    cell_N = label_N[known_N].astype(np.int64) * num + logits[known_N].argmax(1)
    return ClassAccuracy(tuple(classes), np.bincount(cell_N, minlength=num * num).reshape(num, num))


def format_classes(accuracy: ClassAccuracy) -> str:
    """The table of classes as text: per cent, and the confusion matrix in counts (a row per label)."""
    names = [f"{number} {name}" for number, name in enumerate(accuracy.classes)]
    rows: list[list[object]] = [["", "faces", "recall", "precision", "F1", "|", *range(len(names)), "(called)"]]
    columns = (accuracy.total_K, accuracy.recall_K(), accuracy.precision_K(), accuracy.f1_K(), accuracy.confusion_KK)
    for name, total, recall, precision, f1, row in zip(names, *columns, strict=True):
        rows.append([name, total, decimal(recall), decimal(precision), decimal(f1), "|", *row, ""])
    total = accuracy.total_K.sum()
    largest = 100 * accuracy.total_K.max() / total if total else float("nan")
    figures = f"{format_figures(accuracy)} (always calling the largest class: {decimal(largest)})"
    return f"{align_columns(rows)}\n{figures}"


def format_figures(accuracy: ClassAccuracy) -> str:
    """The figures and the number of faces as one line."""
    figures = accuracy.figures().items()
    said = "  ".join(f"{name.replace('_', ' ')} {decimal(value)}" for name, value in figures)
    return f"{said}  of {accuracy.total_K.sum()} faces"


def _percent(part_K: np.ndarray, whole_K: np.ndarray) -> np.ndarray:
    return np.divide(100.0 * part_K, whole_K, out=np.full(len(whole_K), np.nan), where=whole_K > 0)
