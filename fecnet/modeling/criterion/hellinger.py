"""Vote distributions as target embeddings. N images, K classes, D embedding dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.targets import present_rows, target_parts
from fecnet.structures import Batch, Outputs
from fecnet.utils.errors import ConfigError


class HellingerCriterion(nn.Module):
    """Mean of ``‖e − [√q, 0]‖²`` over the images with votes; e is the embedding, q the distribution of the votes.

    √q is a unit vector, and the squared distance of two such vectors is twice the squared Hellinger distance of the
    distributions. Where triplets are made from votes by that distance, as for FERPlus, each face has a known target
    embedding, and no triplets have to be sampled.

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
        """Number of images with votes; a mixed image counts by the shares of its two images that have votes."""
        parts = target_parts(batch, "distribution", "hellinger")
        return {"hellinger": torch.stack([present_rows(votes_NK) * share_N for votes_NK, share_N in parts]).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the squared distances over the images with votes; a mixed image has two targets."""
        embedding_ND, total = out["embedding"].float(), out["embedding"].new_zeros((), dtype=torch.float32)
        for votes_NK, share_N in target_parts(batch, "distribution", "hellinger"):
            # absent rows are set to zero, so that neither the loss nor its gradient is NaN
            root_NK = votes_NK.nan_to_num(0.0).sqrt()
            place_ND = nn.functional.pad(root_NK, (0, embedding_ND.shape[1] - root_NK.shape[1]))
            distance_N = (embedding_ND - place_ND).square().sum(dim=1)
            total = total + (distance_N * present_rows(votes_NK) * share_N).sum()
        return {"hellinger": total}
