"""A net that looks at a face and at its regions (Region Attention Network)."""

from __future__ import annotations

import torch
from torch import Tensor

from fecnet.layers.regions import face_regions
from fecnet.modeling.models import ExpressionNet
from fecnet.structures import Outputs


class RegionNet(ExpressionNet):
    """N images → 6N regions → backbone → neck → a head that joins them to N again, such as ``RanHead``."""

    def forward(self, image_NCHW: Tensor) -> Outputs:
        """Outputs of the head for a batch of images.

        Args:
            image_NCHW: uint8, or float in 0..1, shape (N, C, H, W).
        """
        image = image_NCHW.to(self.mean.dtype)
        if image_NCHW.dtype == torch.uint8:
            image = image / 255
        return super().forward(face_regions(image).flatten(0, 1))
