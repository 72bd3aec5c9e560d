"""Classification accuracy, overall and by class.

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

METRICS = ("accuracy", "mean_class_accuracy", "macro_f1")


@dataclass(frozen=True, eq=False)
class ClassAccuracy:
    """Counts of labelled faces.

    Attributes:
        classes: K names in label order.
        confusion_KK: faces by label (row) and by predicted class (column), int64, shape (K, K).
    """

    classes: tuple[str, ...]
    confusion_KK: np.ndarray

    @property
    def total_K(self) -> np.ndarray:
        """Faces of each class."""
        return self.confusion_KK.sum(1)

    @property
    def correct_K(self) -> np.ndarray:
        """Correctly classified faces of each class."""
        return self.confusion_KK.diagonal()

    @property
    def predicted_K(self) -> np.ndarray:
        """Faces predicted as each class."""
        return self.confusion_KK.sum(0)

    def recall_K(self) -> np.ndarray:
        """Recall of each class, %; NaN where it has no face."""
        return _percent(self.correct_K, self.total_K)

    def precision_K(self) -> np.ndarray:
        """Precision of each class, %; NaN where it is never predicted."""
        return _percent(self.correct_K, self.predicted_K)

    def f1_K(self) -> np.ndarray:
        """Harmonic mean of recall and precision, %; NaN where a class has no face and is never predicted."""
        return _percent(2 * self.correct_K, self.total_K + self.predicted_K)

    def confusion_percent(self) -> np.ndarray:
        """The confusion matrix in % of each label's faces; NaN where a class has no face. Shape (K, K)."""
        return np.stack([_percent(predicted_K, self.total_K) for predicted_K in self.confusion_KK.T], axis=1)

    def metrics(self) -> dict[str, float | None]:
        """The metrics named in ``METRICS``, %; means over classes skip classes without faces."""
        there_K = self.total_K > 0
        if not there_K.any():
            return dict.fromkeys(METRICS)
        accuracy = 100 * self.correct_K.sum() / self.total_K.sum()
        values = (accuracy, self.recall_K()[there_K].mean(), self.f1_K()[there_K].mean())
        return {name: round(float(value), 4) for name, value in zip(METRICS, values, strict=True)}

    def warning(self) -> str:
        """Always empty: the metrics are never meaningless."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the metrics, the classes in order, correct and total faces of each, and the confusion matrix."""
        return {
            **self.metrics(),
            "classes": list(self.classes),
            "right": self.correct_K.tolist(),
            "total": self.total_K.tolist(),
            "confusion": self.confusion_KK.tolist(),
        }


def confusion_text(accuracy: ClassAccuracy) -> str:
    """The confusion matrix as CSV, a row per label; the first line is a comment with the classes in order."""
    lines = [f"# {','.join(accuracy.classes)}", *(",".join(map(str, row)) for row in accuracy.confusion_KK.tolist())]
    return "\n".join(lines) + "\n"


def class_accuracy(logits_NK: Tensor, label_N: np.ndarray, classes: Sequence[str]) -> ClassAccuracy:
    """Count faces by label and predicted class; of equal logits the first class is predicted.

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
    """Table of the classes as text: metrics in %, and the confusion matrix in counts (a row per label)."""
    names = [f"{number} {name}" for number, name in enumerate(accuracy.classes)]
    rows: list[list[object]] = [["", "faces", "recall", "precision", "F1", "|", *range(len(names)), "(predicted)"]]
    columns = (accuracy.total_K, accuracy.recall_K(), accuracy.precision_K(), accuracy.f1_K(), accuracy.confusion_KK)
    for name, total, recall, precision, f1, row in zip(names, *columns, strict=True):
        rows.append([name, total, decimal(recall), decimal(precision), decimal(f1), "|", *row, ""])
    total = accuracy.total_K.sum()
    largest = 100 * accuracy.total_K.max() / total if total else float("nan")
    overall = f"{format_metrics(accuracy)} (always predicting the largest class: {decimal(largest)})"
    return f"{align_columns(rows)}\n{overall}"


def format_metrics(accuracy: ClassAccuracy) -> str:
    """The metrics and the number of faces as one line."""
    metrics = accuracy.metrics().items()
    line = "  ".join(f"{name.replace('_', ' ')} {decimal(value)}" for name, value in metrics)
    return f"{line}  of {accuracy.total_K.sum()} faces"


def _percent(part_K: np.ndarray, whole_K: np.ndarray) -> np.ndarray:
    return np.divide(100.0 * part_K, whole_K, out=np.full(len(whole_K), np.nan), where=whole_K > 0)
