"""Choice probabilities: how likely raters are to call each of three faces the odd one. B triplets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCALE_LIMITS = (0.1, 100.0)  # range of a scale: at 0.1 all choices are nearly equally likely, at 100 nearly certain
DEFAULT_SCALE = 4.0  # of a net that has not learned one: near what `fecnet evaluate --split public_test` fits
# to FERPlus for the shipped nets, see docs/serve.md
LAPSE_RATE = 0.05  # share of choices that are guesses, whatever the distances. Without it a few surprising choices keep
# the scale low, and the probabilities of all others too near to chance (doi:10.3758/BF03194544)


def choice_log_probabilities(
    opposite_B3: Tensor, scale: Tensor | float = DEFAULT_SCALE, *, lapse_rate: float = LAPSE_RATE
) -> Tensor:
    """Log-probability that a rater calls face k the odd one, ``(1 − λ) · softmaxₖ(−scale · d) + λ / 3``.

    d is the distance of the two other faces, λ the lapse rate. The softmax over pair similarities is that of
    odd-one-out models in cognitive science (doi:10.1038/s41562-020-00951-3), the lapse rate that of psychophysics.

    Args:
        opposite_B3: d, ``opposite_distances``, shape (B, 3).
        scale: above 0; 0 would make all three equally likely.
        lapse_rate: λ, from 0 to below 1.

    Returns:
        Shape (B, 3).
    """
    log_B3 = (-scale * opposite_B3).log_softmax(1)
    if not lapse_rate:
        return log_B3
    return torch.logaddexp(log_B3 + math.log(1 - lapse_rate), log_B3.new_tensor(math.log(lapse_rate / 3)))


def vote_shares(votes_B3: Tensor, odd_B: Tensor) -> Tensor:
    """Share of the raters who called each face the odd one; for a triplet without votes, 1 for its odd face.

    Args:
        votes_B3: raters who chose face k, zeros where only the odd face is known, shape (B, 3).
        odd_B: index 0..2 of the odd face, int64, shape (B,).

    Returns:
        float32, shape (B, 3).
    """
    assert votes_B3.shape == (len(odd_B), 3), (votes_B3.shape, odd_B.shape)
    votes_B3 = votes_B3.float()
    total_B1 = votes_B3.sum(1, keepdim=True)
    known_B3 = torch.nn.functional.one_hot(odd_B, 3).float()
    return torch.where(total_B1 > 0, votes_B3 / total_B1.clamp_min(1), known_B3)
