"""A picture, or the face in its box, as a square of the size wanted; or the word under which its absence is counted.

Shape suffixes: H, W pixels of the picture, S pixels a side, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fecnet.faces.align import MOST_SIDES
from fecnet.faces.decode import read_photo


def load_square(picture: Path | np.ndarray, box: tuple[float, ...], size: int, *, grey: bool) -> np.ndarray | str:
    """Load one face.

    Without a box the central square of the picture is taken, the whole of a square one. A box is widened about its
    centre to a square on its longer side; what then lies outside the picture is black. The square is resized
    bilinearly, averaging where it shrinks; one of the right size keeps its pixels.

    Args:
        picture: a file, or the pixels: uint8, shape (H, W) or (H, W, 3).
        box: left, top, right, bottom in pixels, or nothing.
        size: S.
        grey: one channel (0.299 R + 0.587 G + 0.114 B) instead of three.

    Returns:
        uint8, shape (S, S, C); or why there is none: ``bad_box`` (empty, or off the picture), or what
        ``read_photo`` says.
    """
    pixels = read_photo(picture) if isinstance(picture, Path) else picture
    if isinstance(pixels, str):
        return pixels
    image = Image.fromarray(pixels).convert("L" if grey else "RGB")
    square = _square_of(box, *image.size) if box else _central_square(*image.size)
    if square is None:
        return "bad_box"
    if square != (0, 0, *image.size):
        image = image.crop(square)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, -1)


def _central_square(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _square_of(box: tuple[float, ...], width: int, height: int) -> tuple[int, int, int, int] | None:
    """The box widened to a square, or None where no pixel of the picture is in it."""
    left, top, right, bottom = box
    if min(right, width) - max(left, 0) < 1 or min(bottom, height) - max(top, 0) < 1:
        return None
    side = round(max(right - left, bottom - top))
    if side > MOST_SIDES * max(width, height):
        return None  # not a face in this picture
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    return x, y, x + side, y + side
