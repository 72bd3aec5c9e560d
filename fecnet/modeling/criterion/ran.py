"""Region-biased loss of RAN. N images, R = 6 regions, the whole face first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.ranges import check_range
from fecnet.structures import Batch, Outputs


class RegionBiasCriterion(nn.Module):
    """Mean of ``max(0, m − (largest importance of a crop − importance of the whole face))``, arXiv:1905.04075.

    It uses no labels: all images count.

    Args:
        margin: m; 0.02 in the paper, 0.1 in its code.

    Raises:
        UserError: the margin is not in 0..1.
    """

    def __init__(self, *, margin: float = 0.02) -> None:
        super().__init__()
        check_range("RAN_MARGIN", margin, 0 <= margin <= 1, "0..1, since importances are")
        self.margin = margin

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Number of images."""
        return {"region_bias": torch.full((), float(len(batch.row_N)), device=batch.row_N.device)}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the hinge over the images."""
        importance_NR = out["region_importance"].float()
        hinge_N = (self.margin - (importance_NR[:, 1:].amax(dim=1) - importance_NR[:, 0])).relu()
        return {"region_bias": hinge_N.sum()}
