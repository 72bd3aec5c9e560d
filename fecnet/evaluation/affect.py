"""Accuracy of predicted valence and arousal.

Shape suffix: N faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

DIMENSIONS = ("valence", "arousal")
METRICS = ("ccc", "valence_ccc", "arousal_ccc")


@dataclass(frozen=True)
class AffectAccuracy:
    """Accuracy over the faces for which both values are known.

    Attributes:
        num_faces: number of these faces.
        ccc: Lin's concordance correlation coefficient of valence and of arousal, -1..1; NaN where neither predictions
            nor targets vary.
        rmse: root mean squared error of valence and of arousal.
    """

    num_faces: int
    ccc: tuple[float, float]
    rmse: tuple[float, float]

    def metrics(self) -> dict[str, float | None]:
        """Concordance × 100: the mean of valence and arousal, and each; None where undefined."""
        values = (sum(self.ccc) / 2, *self.ccc)
        return {name: _rounded(100 * value) for name, value in zip(METRICS, values, strict=True)}

    def warning(self) -> str:
        """Always empty: the metrics are never meaningless; a constant prediction has concordance 0."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the metrics, the errors and the number of faces."""
        errors = {f"{name}_rmse": _rounded(value) for name, value in zip(DIMENSIONS, self.rmse, strict=True)}
        return {**self.metrics(), **errors, "affect_faces": self.num_faces}


def affect_accuracy(predicted_N2: Tensor, target_N2: np.ndarray) -> AffectAccuracy:
    """Compare predictions with annotations.

    The concordance ``2 cov / (var + var + (difference of means)²)`` is what AffectNet reports (arXiv:1708.03985).

    Args:
        predicted_N2: valence and arousal, float, shape (N, 2).
        target_N2: annotated values in -1..1; rows with NaN are not counted, shape (N, 2).

    Raises:
        UserError: a prediction is not finite.
    """
    predicted = predicted_N2.double().numpy()
    bad_N = ~np.isfinite(predicted).all(1)
    if bad_N.any():
        raise UserError(f"the valence and arousal of face {int(bad_N.argmax())} are not finite")
    known_N = ~np.isnan(target_N2).any(1)
    found, target = predicted[known_N], target_N2[known_N].astype(np.float64)
    if not known_N.any():
        nothing = (float("nan"), float("nan"))
        return AffectAccuracy(0, nothing, nothing)
    both_2 = found.var(0) + target.var(0) + (found.mean(0) - target.mean(0)) ** 2
    covariance_2 = ((found - found.mean(0)) * (target - target.mean(0))).mean(0)
    ccc_2 = np.divide(2 * covariance_2, both_2, out=np.full(2, np.nan), where=both_2 > 0)
    rmse_2 = np.sqrt(((found - target) ** 2).mean(0))
    return AffectAccuracy(int(known_N.sum()), tuple(ccc_2.tolist()), tuple(rmse_2.tolist()))


def format_affect(accuracy: AffectAccuracy) -> str:
    """Concordance and error as text, a row per dimension."""
    rows = [("", "CCC", "RMSE")]
    for name, ccc, rmse in zip(DIMENSIONS, accuracy.ccc, accuracy.rmse, strict=True):
        rows.append((name, f"{ccc:.3f}", f"{rmse:.3f}"))
    return f"{align_columns(rows)}\nof {accuracy.num_faces} faces"


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
