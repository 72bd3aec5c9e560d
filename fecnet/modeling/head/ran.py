"""Feature maps of a face's regions to one feature and logits (Region Attention Network).

N images, R = 6 regions, the whole face first, F features, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fecnet.layers.importance import Importance
from fecnet.layers.regions import NUM_REGIONS
from fecnet.modeling.channels import Span
from fecnet.modeling.head.scn import ScnClassifier
from fecnet.structures import Outputs


class RegionAttention(nn.Module):
    """Two-level attention over regions (arXiv:1905.04075).

    ``α = σ(linear(v))``; ``v̄ = Σαv / Σα``; ``β = σ(linear([v; v̄]))``; the fused feature is ``Σαβ[v; v̄] / Σαβ``.
    Weights are normalised in log space, since they would be 0 / 0 where all six importances underflow.

    Args:
        in_features: F.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.alpha = Importance(in_features)
        self.beta = Importance(2 * in_features)

    def forward(self, region_NRF: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the regions, (N, R, F).

        Returns:
            The fused feature, shape (N, 2F), and α in 0..1 for the region-biased loss, shape (N, R).
        """
        log_alpha_NR1 = self.alpha.log(region_NRF)
        mean_N1F = _weighted_mean(region_NRF, log_alpha_NR1)
        both_NRF = torch.cat([region_NRF, mean_N1F.expand_as(region_NRF)], dim=2)
        log_beta_NR1 = self.beta.log(both_NRF)
        return _weighted_mean(both_NRF, log_alpha_NR1 + log_beta_NR1)[:, 0], log_alpha_NR1[:, :, 0].exp()


def _weighted_mean(value_NRF: Tensor, log_weight_NR1: Tensor) -> Tensor:
    """Weighted mean over the regions, given log weights, shape (N, 1, F)."""
    return (value_NRF * log_weight_NR1.softmax(dim=1)).sum(dim=1, keepdim=True)


class RanHead(nn.Module):
    """Global average pool → two-level attention over regions → dropout → logits; the head of a ``RegionNet``.

    Args:
        in_channels: channels of the feature map.
        num_classes: K.
        dropout: probability, before the logits.
        scn: classify the fused feature with ``ScnClassifier`` (SCN and RAN combined).
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.0, scn: bool = False) -> None:
        super().__init__()
        self.attention = RegionAttention(in_channels)
        self.dropout = nn.Dropout(dropout)
        self._in_channels = in_channels
        fused = 2 * in_channels
        self.classifier: nn.Module = ScnClassifier(fused, num_classes) if scn else nn.Linear(fused, num_classes)

    @property
    def readers(self) -> tuple[Span, ...]:
        """Layers that read the pooled feature maps; all but α's read each channel twice: its value and its mean."""
        one = isinstance(self.classifier, nn.Linear)
        last = ("classifier",) if one else ("classifier.importance", "classifier.classes")
        twice = [Span(name, at) for name in ("attention.beta", *last) for at in (0, self._in_channels)]
        return (Span("attention.alpha"), *twice)

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Feature maps of the regions of N images, grouped by image, (N · R, in_channels, H, W).

        Returns:
            ``logits``, shape (N, K); ``region_importance``, shape (N, R); ``feature``: the fused one, before dropout,
            shape (N, 2 · in_channels); with SCN ``importance``, shape (N,).
        """
        region_NRF = map_NCHW.mean(dim=(2, 3)).unflatten(0, (-1, NUM_REGIONS))
        feature_NF, importance_NR = self.attention(region_NRF)
        found = self.classifier(self.dropout(feature_NF))
        outputs = found if isinstance(found, dict) else {"logits": found}
        return {**outputs, "feature": feature_NF, "region_importance": importance_NR}
