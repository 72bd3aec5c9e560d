"""Resizes a photo and crops of it, from an image pyramid (halves, quarters, …); a level is made when first needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

_ROOM = 3  # a level is shrunk only if it has at least this many pixels per pixel of the result, on each side


class Pyramid:
    """Shrinks a photo, or crops of it, so that each pixel contributes to the result.

    Args:
        image_HWC: uint8, shape (H, W, 3).

    Attributes:
        height: H.
        width: W.
    """

    def __init__(self, image_HWC: np.ndarray) -> None:
        self.height, self.width = image_HWC.shape[:2]
        self._levels = [Image.fromarray(image_HWC)]

    def resized(self, height: int, width: int) -> np.ndarray:
        """The whole photo: uint8, shape (height, width, 3)."""
        level = self._level(min(self.height / height, self.width / width))
        return np.asarray(self._shrunk((0, 0, self.width, self.height), level, (width, height)))

    def crops(self, boxes_K4: Sequence[Sequence[int]], size: int) -> np.ndarray:
        """Crops of it: uint8, shape (K, size, size, 3).

        Args:
            boxes_K4: x1, y1, x2, y2 in pixels, the ends exclusive, inside the photo, not empty.
            size: side of the results, pixels.
        """
        column = Image.new("RGB", (size, size * len(boxes_K4)))  # converting one image to an array is faster than K
        for row, box in enumerate(boxes_K4):
            level = self._level(min(box[2] - box[0], box[3] - box[1]) / size)
            column.paste(self._shrunk(box, level, (size, size)), (0, size * row))
        return np.asarray(column).reshape(-1, size, size, 3)

    def _level(self, pixels: float) -> int:
        """Index of the smallest level from which to shrink ``pixels`` pixels of the photo to one."""
        level = 0
        while pixels >= _ROOM * 2 ** (level + 1):
            level += 1
        return level

    def _shrunk(self, box: Sequence[int], level: int, size: tuple[int, int]) -> Image.Image:
        while len(self._levels) <= level:
            self._levels.append(self._levels[-1].reduce(2))
        image, scale = self._levels[level], 2**level
        # half of an odd side is rounded up: its last pixel is the mean of the pixels that exist
        x1, y1, x2, y2 = (edge / scale for edge in box)
        return image.resize(size, Image.Resampling.HAMMING, box=(x1, y1, min(x2, image.width), min(y2, image.height)))
