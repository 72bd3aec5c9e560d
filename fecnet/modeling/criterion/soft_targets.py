"""Cross-entropy with the distribution of the annotators' votes as soft targets. N images, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.targets import present_rows, target_parts
from fecnet.structures import Batch, Outputs


class SoftTargetCriterion(nn.Module):
    """Mean of ``−Σ_c q_c log p_c`` over the images with votes; q is their distribution (FERPlus, arXiv:1608.01041)."""

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Number of images with votes; a mixed image counts by the shares of its two images that have votes."""
        parts = target_parts(batch, "distribution", "soft_targets")
        return {"soft_targets": torch.stack([present_rows(votes_NK) * share_N for votes_NK, share_N in parts]).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the cross-entropy over the images with votes."""
        parts = target_parts(batch, "distribution", "soft_targets")
        assert out["logits"].shape == parts[0][0].shape, (out["logits"].shape, parts[0][0].shape)
        log_NK = out["logits"].float().log_softmax(dim=1)
        # absent rows are set to zero, so that neither the loss nor its gradient is NaN
        wanted_NK = torch.stack([votes_NK.nan_to_num(0.0) * share_N[:, None] for votes_NK, share_N in parts]).sum(0)
        return {"soft_targets": -(wanted_NK * log_NK).sum()}
