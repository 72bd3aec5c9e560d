"""Calibration: whether predicted probabilities match observed frequencies.

Shape suffixes: N faces or triplets, K classes, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

NUM_BINS = 15  # of equal width, as in arXiv:1706.04599


@dataclass(frozen=True, eq=False)
class Calibration:
    """Items by confidence: labelled faces by the probability of the predicted class, triplets by that of the odd face.

    Bins have equal width: bin b of B holds confidences above b/B up to (b+1)/B.

    Attributes:
        count_B: items in each bin, int64, shape (B,).
        confidence_B: their mean confidence, 0..1, shape (B,); NaN for an empty bin.
        accuracy_B: their accuracy, or for triplets the share of raters who agree, 0..1, shape (B,); NaN for an empty
            bin.
    """

    count_B: np.ndarray
    confidence_B: np.ndarray
    accuracy_B: np.ndarray

    def ece(self) -> float | None:
        """Expected calibration error, %: the mean of |accuracy - confidence| over the bins, weighted by items."""
        return self._mean(np.abs(self.accuracy_B - self.confidence_B))

    def confidence(self) -> float | None:
        """Mean confidence, %."""
        return self._mean(self.confidence_B)

    def accuracy(self) -> float | None:
        """Accuracy, %."""
        return self._mean(self.accuracy_B)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``ece`` and mean ``confidence``, %; ``binning`` and ``bins``, whose values are in 0..1."""
        bins = [
            {"count": int(count), "confidence": round(float(confidence), 6), "accuracy": round(float(accuracy), 6)}
            if count
            else {"count": 0, "confidence": None, "accuracy": None}
            for count, confidence, accuracy in zip(self.count_B, self.confidence_B, self.accuracy_B, strict=True)
        ]
        binning = f"{len(bins)} bins of equal width over the confidence, each without its lower end"
        return {
            "ece": _rounded(self.ece()),
            "confidence": _rounded(self.confidence()),
            "binning": binning,
            "bins": bins,
        }

    def text(self, item: str = "face", accuracy: str = "accuracy") -> str:
        """One line: the calibration error, its binning, and whether the probabilities are too high or too low.

        Args:
            item: name of an item, such as ``triplet``.
            accuracy: name of the value that confidence is compared with.
        """
        ece, confidence, reached = self.ece(), self.confidence(), self.accuracy()
        if ece is None or confidence is None or reached is None:
            return f"calibration: no {item}"
        verdict = "overconfident" if confidence > reached else "underconfident"
        return (
            f"calibration: ECE {ece:.1f} over {len(self.count_B)} bins of equal width; "
            f"mean confidence {confidence:.1f}, {accuracy} {reached:.1f}: {verdict}"
        )

    def _mean(self, value_B: np.ndarray) -> float | None:
        """Mean of the bins' values weighted by items, %; None where there is no item."""
        there_B = self.count_B > 0
        if not there_B.any():
            return None
        return float(100 * (value_B[there_B] * self.count_B[there_B]).sum() / self.count_B.sum())


def calibration(logits_NK: Tensor, label_N: np.ndarray, num_bins: int = NUM_BINS) -> Calibration:
    """Bin faces by confidence (arXiv:1706.04599).

    Args:
        logits_NK: finite, shape (N, K).
        label_N: class of each face, -1 = unknown and not counted, shape (N,).
        num_bins: B.
    """
    known_N = label_N >= 0
    probability_NK = logits_NK.double().softmax(1).numpy()[known_N]
    right_N = logits_NK.numpy()[known_N].argmax(1) == label_N[known_N]
    return calibrated(probability_NK.max(1, initial=0.0), right_N, num_bins)


def calibrated(confidence_N: np.ndarray, right_N: np.ndarray, num_bins: int = NUM_BINS) -> Calibration:
    """Bin items by confidence (arXiv:1706.04599).

    Args:
        confidence_N: predicted probability, 0..1, shape (N,).
        right_N: whether the prediction was correct, or the share of raters who agree with it, 0..1, shape (N,).
        num_bins: B.
    """
    upper = np.arange(1, num_bins) / num_bins
    bin_N = np.searchsorted(upper, confidence_N, side="left")
    count_B = np.bincount(bin_N, minlength=num_bins)
    return Calibration(
        count_B,
        _ratio(np.bincount(bin_N, confidence_N, num_bins), count_B),
        _ratio(np.bincount(bin_N, right_N, num_bins), count_B),
    )


def _ratio(total_B: np.ndarray, count_B: np.ndarray) -> np.ndarray:
    return np.divide(total_B, count_B, out=np.full(len(count_B), np.nan), where=count_B > 0)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
