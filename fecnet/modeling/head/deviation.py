"""Difference of two feature maps to unit embedding. N images, C channels, D dimensions."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.layers.l2 import l2_normalize
from fecnet.structures import Outputs


class DeviationHead(nn.Module):
    """Global average pool → dropout → projection → unit length; the head of a ``DeviationNet``.

    The projection is a polynomial of the deviation z without hidden layers: x₁ = U₁z + b, xₙ = xₙ₋₁ + Uₙz ∗ xₙ₋₁, where
    ∗ is the elementwise product ("coupled CP decomposition", arXiv:2003.03828). The largest n is the degree; 1 is a
    linear map.

    Args:
        in_channels: C.
        embedding_dim: D.
        order: degree of the polynomial, 1 or more.
        dropout: probability, before the projection.
    """

    def __init__(self, in_channels: int, *, embedding_dim: int = 16, order: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Linear(in_channels, embedding_dim)
        self.factors = nn.ModuleList(nn.Linear(in_channels, embedding_dim, bias=False) for _ in range(order - 1))
        for layer in (self.embedding, *self.factors):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        nn.init.zeros_(self.embedding.bias)

    def forward(self, map_NCHW: Tensor) -> Outputs:
        """Difference of feature maps of any size, (N, C, H, W).

        Returns:
            ``embedding``: unit length, float32, shape (N, D); ``feature``: the deviation, shape (N, C).
        """
        feature_NC = map_NCHW.mean(dim=(2, 3))
        dropped_NC = self.dropout(feature_NC)
        projected_ND = self.embedding(dropped_NC)
        for factor in self.factors:
            projected_ND = projected_ND + factor(dropped_NC) * projected_ND
        return {"embedding": l2_normalize(projected_ND), "feature": feature_NC}
