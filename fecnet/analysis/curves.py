"""The predictions for a face over time, with a bounded number of points for videos of any length.

Shape suffixes: P points, K classes.
"""

from __future__ import annotations

import math

import numpy as np

from fecnet.analysis.reading import FaceRow

POINTS = 2048


class Curve:
    """Probabilities and change of one track; beyond ``POINTS`` points, neighbouring points are merged in pairs.

    Merged points have the mean time, the mean probabilities and the largest change.

    Args:
        num_classes: K; 0 for a net without classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._points: list[np.ndarray] = []  # time, change, probabilities
        self._joined: list[np.ndarray] = []  # fewer than ``_step`` rows, which will be merged to one point
        self._step = 1
        self._num_classes = num_classes

    def add(self, row: FaceRow) -> None:
        """Add a face with status ``ok``."""
        probability_K = row.face.probability_K
        probabilities = [] if probability_K is None else probability_K.tolist()
        change = math.nan if row.change is None else row.change
        self._joined.append(np.array([row.time_s, change, *probabilities], np.float64))
        if len(self._joined) == self._step:
            self._points.append(_join(self._joined))
            self._joined = []
        if len(self._points) == POINTS:
            self._points = [_join(self._points[first : first + 2]) for first in range(0, POINTS, 2)]
            self._step *= 2

    def values(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times in seconds, shape (P,); change, shape (P,), NaN where unknown; probabilities, shape (P, K)."""
        points = [*self._points, *([_join(self._joined)] if self._joined else [])]
        array = np.stack(points) if points else np.empty((0, 2 + self._num_classes))
        return array[:, 0], array[:, 1], array[:, 2:]


def _join(points: list[np.ndarray]) -> np.ndarray:
    joined: np.ndarray = np.mean(points, axis=0)
    changes = [point[1] for point in points if not math.isnan(point[1])]
    joined[1] = max(changes, default=math.nan)
    return joined
