"""Model that processes a face and its regions (Region Attention Network)."""

from __future__ import annotations

from torch import Tensor

from fecnet.layers.regions import face_regions
from fecnet.modeling.models import ExpressionNet, to_unit_range
from fecnet.structures import Outputs


class RegionNet(ExpressionNet):
    """N images → 6N regions → backbone → neck → a head that fuses the regions of each image, such as ``RanHead``."""

    def forward(self, image_NCHW: Tensor) -> Outputs:
        """Outputs of the head for a batch of images.

        Args:
            image_NCHW: uint8, or float in 0..1, shape (N, C, H, W).
        """
        return super().forward(face_regions(to_unit_range(image_NCHW, self.mean.dtype)).flatten(0, 1))
