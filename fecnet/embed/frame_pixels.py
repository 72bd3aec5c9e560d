"""Pixels of a decoded frame as a player shows them: upright, and square."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import numpy as np

_WIDEST = 8  # maximum aspect ratio of a pixel, either way; beyond it the file is wrong


def upright_rgb(frame: Any, pixel_aspect: Fraction | None) -> np.ndarray:
    """RGB of a frame of PyAV.

    Args:
        frame: the decoded frame.
        pixel_aspect: width of a pixel divided by its height; None or 0 = unknown, taken as 1. The frame is stretched
            along the shorter side of its pixels, so that no pixels are lost.

    Returns:
        uint8, shape (H, W, 3).
    """
    width, height = frame.width, frame.height
    aspect = pixel_aspect if pixel_aspect and Fraction(1, _WIDEST) <= pixel_aspect <= _WIDEST else Fraction(1)
    width, height = round(width * max(aspect, 1)), round(height / min(aspect, 1))
    image_HWC = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(_turned(image_HWC, frame.side_data.get("DISPLAYMATRIX")))


def _turned(image_HWC: np.ndarray, matrix: Any) -> np.ndarray:
    """Rotate and mirror as in the display matrix, to the nearest 90°.

    The matrix is that of ISO/IEC 14496-12, 6.2.2: a pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    if matrix is None:
        return image_HWC
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        image_HWC, a, d = image_HWC.swapaxes(0, 1), c, b
    return image_HWC[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
