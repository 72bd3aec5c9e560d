"""A learned importance weight in 0..1, of images or of regions."""

from __future__ import annotations

from torch import Tensor, nn


class Importance(nn.Linear):
    """``σ(linear)``; heads compute in float32, so that the importances of many images differ and can be ranked.

    Args:
        in_features: F.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """Features (..., F) to (..., 1)."""
        return super().forward(feature).sigmoid()

    def log(self, feature: Tensor) -> Tensor:
        """The logarithm of ``forward``, finite where ``forward`` underflows."""
        return nn.functional.logsigmoid(super().forward(feature))
