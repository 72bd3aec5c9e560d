"""Means over rectangles of a photo, with four reads each, by a summed-area table (Crow, 1984)."""

from __future__ import annotations

import torch
from torch import Tensor

_INT32_PIXELS = (2**31 - 1) // 255  # the sum of a larger photo may overflow int32


class AreaTable:
    """Downscales a photo, or crops of it, by area averaging (torch's ``area`` mode).

    Args:
        image_HWC: uint8, shape (H, W, C), on any device.

    Attributes:
        height: H.
        width: W.
    """

    def __init__(self, image_HWC: Tensor) -> None:
        self.height, self.width, channels = image_HWC.shape
        dtype = torch.int32 if self.height * self.width <= _INT32_PIXELS else torch.int64
        self._sum = torch.zeros(self.height + 1, self.width + 1, channels, dtype=dtype, device=image_HWC.device)
        self._sum[1:, 1:] = image_HWC.cumsum(0, dtype=dtype).cumsum(1, dtype=dtype)

    def resized(self, height: int, width: int) -> Tensor:
        """The whole photo: float32, shape (height, width, C), 0..255."""
        whole_14 = torch.tensor([[0, 0, self.width, self.height]], device=self._sum.device)
        return self._means(whole_14, height, width)[0]

    def crops(self, boxes_K4: Tensor, size: int) -> Tensor:
        """Crops of it: float32, shape (K, size, size, C), 0..255.

        Args:
            boxes_K4: x1, y1, x2, y2 in pixels, the ends exclusive, int64, inside the photo, not empty.
            size: side of the results, pixels.
        """
        return self._means(boxes_K4, size, size)

    def _means(self, boxes_K4: Tensor, height: int, width: int) -> Tensor:
        left_KW, right_KW = _edges(boxes_K4[:, 0], boxes_K4[:, 2], width)
        top_KH, bottom_KH = _edges(boxes_K4[:, 1], boxes_K4[:, 3], height)
        flat = self._sum.flatten(0, 1)
        columns = self.width + 1

        def sums(row_KH: Tensor, column_KW: Tensor) -> Tensor:
            return flat[(row_KH * columns)[:, :, None] + column_KW[:, None, :]]

        total_KHWC = sums(bottom_KH, right_KW) - sums(top_KH, right_KW) - sums(bottom_KH, left_KW)
        total_KHWC += sums(top_KH, left_KW)
        area_KHW = (bottom_KH - top_KH)[:, :, None] * (right_KW - left_KW)[:, None, :]
        return total_KHWC.float() / area_KHW[..., None]


def _edges(first_K: Tensor, after_K: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Start and end of each of ``number`` equal parts, rounded outwards to pixels, int64, shape (K, number)."""
    place = torch.arange(number, device=first_K.device)
    length_K1 = (after_K - first_K)[:, None]
    begin = (place * length_K1).div(number, rounding_mode="floor")
    end = -(-(place + 1) * length_K1).div(number, rounding_mode="floor")
    return first_K[:, None] + begin, first_K[:, None] + end
