"""Likelihood of the raters' choices: each triplet is a choice among three faces. Shape suffix: B triplets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fecnet.layers.choice import DEFAULT_SCALE, LAPSE_RATE, SCALE_LIMITS, choice_log_probabilities, vote_shares
from fecnet.modeling.criterion.ranges import check_range
from fecnet.structures import Batch, Outputs, opposite_distances
from fecnet.utils import comm


class ChoiceCriterion(nn.Module):
    """Mean of ``−Σₖ qₖ log P(odd = k)`` over the triplets; q are the vote shares, or 1 for the odd face without votes.

    P is the softmax of ``−s ·`` squared distance of the two other faces, mixed with guesses at ``LAPSE_RATE``
    (``choice_log_probabilities``). The scale s is fixed, or its logarithm is learned, starting from ``DEFAULT_SCALE``.
    A learned scale is clamped to ``SCALE_LIMITS``: where the votes are unanimous, the likelihood has no maximum and s
    would grow without bound.

    Args:
        scale: fixed value of s; 0 = learned.

    Raises:
        ConfigError: a fixed scale outside the limits.
    """

    lapse_rate = LAPSE_RATE

    def __init__(self, scale: float = 0.0) -> None:
        super().__init__()
        low, high = SCALE_LIMITS
        check_range("CHOICE_SCALE", scale, scale == 0 or low <= scale <= high, f"{low:g}..{high:g}, or 0 = learned")
        self.learns = scale == 0
        log_scale = torch.tensor(math.log(scale or DEFAULT_SCALE))
        if self.learns:
            self.log_scale: Tensor = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    def begin(self, iteration: int) -> None:
        """Clamp the scale to its limits."""
        with torch.no_grad():
            self.log_scale.clamp_(*map(math.log, SCALE_LIMITS))

    @property
    def scale(self) -> Tensor:
        """The scale s, within its limits, without gradient, shape ()."""
        return self.log_scale.detach().exp().clamp(*SCALE_LIMITS)

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of the triplets' weights."""
        assert batch.triplets is not None
        return {"choice": batch.triplets.weight_B.sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of weight × negative log-likelihood over the batch's triplets."""
        assert batch.triplets is not None
        triplets = batch.triplets
        loss_B = -(vote_shares(triplets.votes_B3, triplets.odd_B) * self.log_probabilities(out, batch)).sum(1)
        return {"choice": (loss_B * triplets.weight_B).sum()}

    def log_probabilities(self, out: Outputs, batch: Batch) -> Tensor:
        """Log-probability that face k of each triplet of the batch is chosen as the odd one, shape (B, 3)."""
        assert batch.triplets is not None
        # the criterion is not part of the distributed model, so its gradient is averaged here
        scale = comm.average_gradient(self.log_scale).exp() if self.learns else self.scale
        # index_select, since its backward pass is deterministic on the CPU.
        emb_B3D = out["embedding"].float().index_select(0, batch.triplets.face_B3.flatten()).unflatten(0, (-1, 3))
        return choice_log_probabilities(opposite_distances(emb_B3D), scale, lapse_rate=self.lapse_rate)


def find_choice(criterion: nn.Module) -> ChoiceCriterion | None:
    """The choice criterion that ``criterion`` is or contains, or None."""
    return next((part for part in criterion.modules() if isinstance(part, ChoiceCriterion)), None)
