"""Pixels of a decoded frame as a player shows them: upright, and square."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import numpy as np

_WIDEST = 8  # a pixel of more times its height, or less than this part, is a mistake of the file


def upright_rgb(frame: Any, pixel_aspect: Fraction | None) -> np.ndarray:
    """RGB of a frame of PyAV.

    Args:
        frame: as decoded.
        pixel_aspect: width of a pixel by its height; None or 0 = not known, taken as 1. The shorter side of the pixels
            is stretched, so that none are lost.

    Returns:
        uint8, shape (H, W, 3).
    """
    width, height = frame.width, frame.height
    aspect = pixel_aspect if pixel_aspect and Fraction(1, _WIDEST) <= pixel_aspect <= _WIDEST else Fraction(1)
    width, height = round(width * max(aspect, 1)), round(height / min(aspect, 1))
    image_HWC = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(_turned(image_HWC, frame.side_data.get("DISPLAYMATRIX")))


def _turned(image_HWC: np.ndarray, matrix: Any) -> np.ndarray:
    """Turned and mirrored as the display matrix says, to the nearest quarter turn.

    The matrix is that of ISO/IEC 14496-12, 6.2.2: a pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    if matrix is None:
        return image_HWC
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        image_HWC, a, d = image_HWC.swapaxes(0, 1), c, b
    return image_HWC[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
