"""The face regions of RAN. N images, R = 6 regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_REGIONS = 6

# side of the crop as a fraction of the image; its position: fraction of the remaining space above and to the left
_CROPS = (
    (0.75, 0.0, 0.0),  # top left
    (0.75, 0.0, 1.0),  # top right
    (0.75, 1.0, 0.5),  # bottom centre
    (0.90, 0.5, 0.5),  # centre
    (0.85, 0.5, 0.5),  # centre
)


def face_regions(image_NCHW: Tensor) -> Tensor:
    """The whole face and five crops, resized to the size of the image, on its device (arXiv:1905.04075).

    Args:
        image_NCHW: float, shape (N, C, H, W).

    Returns:
        Shape (N, R, C, H, W): whole, top left, top right, bottom centre (75 % of both sides), centre 90 % and 85 %.
    """
    height, width = image_NCHW.shape[2:]
    regions = [image_NCHW]
    for side, above, left in _CROPS:
        h, w = max(1, round(height * side)), max(1, round(width * side))
        top, first = int((height - h) * above), int((width - w) * left)
        crop_NCHW = image_NCHW[:, :, top : top + h, first : first + w]
        regions.append(F.interpolate(crop_NCHW, size=(height, width), mode="bilinear", align_corners=False))
    return torch.stack(regions, dim=1)
