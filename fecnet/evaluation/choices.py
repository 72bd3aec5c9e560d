"""Choice probabilities compared with raters: log-likelihood, calibration, and the best scale. T triplets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fecnet.evaluation.calibration import Calibration, calibrated
from fecnet.layers.choice import SCALE_LIMITS, choice_log_probabilities, vote_shares

CHANCE = -math.log(3)  # log-likelihood of three equal probabilities
_GRIDS, _POINTS = 6, 13  # of the logarithm of the scale: to 1e-4


@dataclass(frozen=True, eq=False)
class ChoiceFit:
    """How well choice probabilities predict the raters' choices.

    Attributes:
        triplets: number of triplets.
        voted: number of triplets with votes; for the others all raters are assumed to have chosen the odd face.
        scale: scale of the distances (``fecnet.layers.choice``).
        log_likelihood: mean over the triplets of ``Σₖ qₖ log P(odd = k)``, q the vote shares; None without triplets.
        best_scale: the scale within ``SCALE_LIMITS`` with the highest log-likelihood here; None without triplets.
        best_log_likelihood: the log-likelihood with that scale.
        calibration: the probability of the most probable face against the share of raters who chose it.
    """

    triplets: int
    voted: int
    scale: float
    log_likelihood: float | None
    best_scale: float | None
    best_log_likelihood: float | None
    calibration: Calibration

    def to_dict(self) -> dict[str, Any]:
        """For JSON; log-likelihoods in nats, see ``Calibration.to_dict``."""
        numbers = ("log_likelihood", "best_scale", "best_log_likelihood")
        found = {name: getattr(self, name) for name in numbers}
        return {
            "triplets": self.triplets,
            "with_votes": self.voted,
            "scale": round(self.scale, 6),
            **{name: None if value is None else round(value, 6) for name, value in found.items()},
            "calibration": self.calibration.to_dict(),
        }


def choice_fit(opposite_T3: Tensor, odd_T: np.ndarray, votes_T3: np.ndarray, scale: float) -> ChoiceFit:
    """Compare choice probabilities with the raters' vote shares.

    Args:
        opposite_T3: ``opposite_distances``, finite, shape (T, 3).
        odd_T: the raters' odd face, 0..2, shape (T,).
        votes_T3: raters who chose face k, zeros without votes, shape (T, 3).
        scale: scale of the distances.
    """
    opposite_T3 = opposite_T3.double()
    share_T3 = vote_shares(torch.from_numpy(votes_T3), torch.from_numpy(odd_T.astype(np.int64))).double()
    log_T3 = choice_log_probabilities(opposite_T3, scale)
    confidence_T, called_T = log_T3.exp().max(1)
    agree_T = share_T3.gather(1, called_T[:, None])[:, 0]
    best = fit_scale(opposite_T3, share_T3)
    return ChoiceFit(
        triplets=len(odd_T),
        voted=int(votes_T3.any(1).sum()),
        scale=scale,
        log_likelihood=_mean(share_T3, log_T3),
        best_scale=best,
        best_log_likelihood=None if best is None else _mean(share_T3, choice_log_probabilities(opposite_T3, best)),
        calibration=calibrated(confidence_T.numpy(), agree_T.numpy()),
    )


def fit_scale(opposite_T3: Tensor, share_T3: Tensor) -> float | None:
    """The scale within ``SCALE_LIMITS`` that maximises the likelihood of the vote shares; None without triplets.

    Found on a grid of its logarithm, which is refined around the best point several times.

    Args:
        opposite_T3: ``opposite_distances``, float64, shape (T, 3).
        share_T3: q, float64, shape (T, 3).
    """
    if not len(opposite_T3):
        return None

    def likelihood(log_scale: float) -> float:
        return float((share_T3 * choice_log_probabilities(opposite_T3, math.exp(log_scale))).sum())

    lowest, highest = low, high = math.log(SCALE_LIMITS[0]), math.log(SCALE_LIMITS[1])
    for _ in range(_GRIDS):
        grid = np.linspace(high, low, _POINTS).tolist()  # falling: of equal likelihoods the highest scale
        best = max(grid, key=likelihood)
        step = grid[0] - grid[1]
        low, high = max(lowest, best - step), min(highest, best + step)
    return math.exp(best)


def format_choices(found: ChoiceFit, whose: str) -> str:
    """Two lines: the log-likelihood compared with chance and the best scale, and the calibration.

    Args:
        found: the measurement.
        whose: owner of the scale, such as ``the net's``.
    """
    if found.log_likelihood is None:
        return "choice probabilities: no triplet"
    against = "raters' vote shares"
    if not found.voted:
        against = "odd faces, since there are no votes"
    elif found.voted < found.triplets:
        against += f", and the odd faces of {found.triplets - found.voted} triplets without votes"
    best = f"best on this split: {found.best_log_likelihood:.3f} with {found.best_scale:.3g}"
    return (
        f"choices against the {against}: log-likelihood {found.log_likelihood:.3f} (chance {CHANCE:.3f}) "
        f"with {whose} scale {found.scale:.3g}; {best}\n"
        + found.calibration.text("triplet", "raters who agree" if found.voted else "accuracy")
    )


def _mean(share_T3: Tensor, log_T3: Tensor) -> float | None:
    """Mean of ``Σₖ qₖ log pₖ``; None without triplets."""
    return float((share_T3 * log_T3).sum(1).mean()) if len(log_T3) else None
