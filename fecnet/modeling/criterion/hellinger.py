"""The annotators' votes as places of the embedding. N images, K classes, D embedding dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.targets import present_rows, target_parts
from fecnet.structures import Batch, Outputs
from fecnet.utils.errors import ConfigError


class HellingerCriterion(nn.Module):
    """Mean of ``‖e − [√q, 0]‖²`` over the images with votes, e their embedding and q the distribution of their votes.

    √q is a unit vector, and the squared distance of two is twice the squared Hellinger distance of the distributions.
    Where triplets are made from votes by that distance, as those of FERPlus are, every labelled face of a batch
    trains its place, and no triplets have to be sampled.

    Args:
        classes: K names.
        dimensions: D, at least K.

    Raises:
        ConfigError: fewer dimensions than classes.
    """

    def __init__(self, classes: Sequence[str], dimensions: int) -> None:
        super().__init__()
        if dimensions < len(classes):
            raise ConfigError(
                f"MODEL.EMBEDDING_DIM: {dimensions} with criterion 'hellinger' and {len(classes)} classes; allowed: "
                f"{len(classes)} or more"
            )

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Number of images with votes; of a mixed one the shares of both that have votes."""
        parts = target_parts(batch, "distribution", "hellinger")
        return {"hellinger": torch.stack([present_rows(votes_NK) * share_N for votes_NK, share_N in parts]).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the squared distances over the images with votes; a mixed one has two places."""
        embedding_ND, total = out["embedding"].float(), out["embedding"].new_zeros((), dtype=torch.float32)
        for votes_NK, share_N in target_parts(batch, "distribution", "hellinger"):
            # absent rows are set to zero, so that neither the loss nor its gradient is NaN
            root_NK = votes_NK.nan_to_num(0.0).sqrt()
            place_ND = nn.functional.pad(root_NK, (0, embedding_ND.shape[1] - root_NK.shape[1]))
            distance_N = (embedding_ND - place_ND).square().sum(dim=1)
            total = total + (distance_N * present_rows(votes_NK) * share_N).sum()
        return {"hellinger": total}
