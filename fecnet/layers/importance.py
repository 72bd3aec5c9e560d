"""A learnt importance in 0..1, of images or of regions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Importance(nn.Linear):
    """``σ(linear)``, in the precision of its weights under autocast too.

    In half precision the importances of many images would be equal, and equal ones cannot be ranked.

    Args:
        in_features: F.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """Features (..., F) to (..., 1)."""
        return self._linear(feature).sigmoid()

    def log(self, feature: Tensor) -> Tensor:
        """The logarithm of ``forward``, finite where that is too small for a float."""
        return nn.functional.logsigmoid(self._linear(feature))

    def _linear(self, feature: Tensor) -> Tensor:
        with torch.autocast(feature.device.type, enabled=False):
            return super().forward(feature.to(self.weight.dtype))
