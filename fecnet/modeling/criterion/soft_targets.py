"""Cross-entropy with the distribution of the annotators' votes as soft targets. N images, K classes."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.modeling.criterion.targets import present_rows, target_of
from fecnet.structures import Batch, Outputs


class SoftTargetCriterion(nn.Module):
    """Mean of ``−Σ_c q_c log p_c`` over the images with votes, q their distribution (FERPlus, arXiv:1608.01041)."""

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Number of images with votes."""
        return {"soft_targets": present_rows(target_of(batch, "distribution", "soft_targets")).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the cross-entropy over the images with votes."""
        share_NK = target_of(batch, "distribution", "soft_targets")
        assert out["logits"].shape == share_NK.shape, (out["logits"].shape, share_NK.shape)
        # absent rows are set to zero, so that neither the loss nor its gradient is NaN
        return {"soft_targets": -(share_NK.nan_to_num(0.0) * out["logits"].float().log_softmax(dim=1)).sum()}
