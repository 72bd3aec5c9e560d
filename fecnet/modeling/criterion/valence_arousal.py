"""Regression of valence and arousal, both in -1..1. N images, G of all ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.global_batch import count_once
from fecnet.modeling.criterion.targets import present_rows, target_of
from fecnet.structures import Batch, Outputs
from fecnet.utils import comm


def concordance(found_G2: Tensor, target_G2: Tensor, weight_G: Tensor) -> Tensor:
    """Lin's concordance correlation coefficient of each column: ``2 cov / (var + var + (difference of means)²)``.

    Args:
        found_G2: predictions, float, shape (G, 2).
        target_G2: targets without NaN, float, shape (G, 2).
        weight_G: 1 = counted, 0 = ignored, float, shape (G,).

    Returns:
        Shape (2,); 0 for constant columns.
    """
    weight_G1 = weight_G[:, None] / weight_G.sum().clamp(min=1)
    mean_found_2, mean_target_2 = (weight_G1 * found_G2).sum(0), (weight_G1 * target_G2).sum(0)
    found_G2, target_G2 = found_G2 - mean_found_2, target_G2 - mean_target_2
    both_2 = (weight_G1 * (found_G2.square() + target_G2.square())).sum(0) + (mean_found_2 - mean_target_2).square()
    return 2 * (weight_G1 * found_G2 * target_G2).sum(0) / both_2.clamp(min=1e-8)


class ValenceArousalCriterion(nn.Module):
    """Mean squared error over the images with valence and arousal, and 1 − their concordance over the global batch.

    Args:
        ccc: add the term ``ccc``: 1 − the mean concordance of both (AffectNet, arXiv:1708.03985, reports it); 0 in a
            batch with fewer than two such images. It is computed separately for each of several micro-batches.
    """

    def __init__(self, *, ccc: bool = False) -> None:
        super().__init__()
        self.ccc = ccc

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Number of images with both values; the concordance counts once for all ranks."""
        present_N = present_rows(target_of(batch, "valence_arousal", "valence_arousal"))
        terms = {"valence_arousal": present_N.sum()}
        return {**terms, "ccc": count_once(present_N.new_ones(()))} if self.ccc else terms

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the squared error, the mean of both values, over the images that have them."""
        target_N2 = target_of(batch, "valence_arousal", "valence_arousal")
        present_N, target_N2 = present_rows(target_N2), target_N2.nan_to_num(0.0)
        found_N2 = out["valence_arousal"].float()
        terms = {"valence_arousal": ((found_N2 - target_N2).square().mean(dim=1) * present_N).sum()}
        if self.ccc:
            terms["ccc"] = count_once(self._discordance(found_N2, target_N2, present_N))
        return terms

    def _discordance(self, found_N2: Tensor, target_N2: Tensor, present_N: Tensor) -> Tensor:
        counts = comm.gather_counts(len(found_N2))
        all_G5 = comm.gather_differentiable(torch.cat([found_N2, target_N2, present_N[:, None]], dim=1), counts)
        found_G2, target_G2, present_G = all_G5[:, :2], all_G5[:, 2:4], all_G5[:, 4].detach()
        return (1 - concordance(found_G2, target_G2, present_G).mean()) * (present_G.sum() >= 2)
