"""Loads an image, or the face in its box, as a square crop, or returns the reason of failure.

Shape suffixes: H, W pixels of the image, S pixels per side, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fecnet.faces.align import MOST_SIDES
from fecnet.faces.decode import MAX_PIXELS, read_picture, without_limit


def load_square(picture: Path | np.ndarray, box: tuple[float, ...], size: int, *, grey: bool) -> np.ndarray | str:
    """Load one face.

    Without a box, the central square of the image is cropped. A box is extended about its centre to a square of its
    longer side, padded with black. The square is resized bilinearly with antialiasing. For speed, a square of twice the
    size or more is first reduced by averaging blocks of pixels. A square of the right size is unchanged.

    Args:
        picture: an image file, or the pixels: uint8, shape (H, W) or (H, W, 3).
        box: left, top, right, bottom in pixels; empty for the central square.
        size: S.
        grey: one channel (0.299 R + 0.587 G + 0.114 B) instead of three.

    Returns:
        uint8, shape (S, S, C); or the reason of failure: ``bad_box`` (empty or outside of the image), ``too_large``
        (more pixels in the square than a photo may have), or one of ``read_photo``.
    """
    if isinstance(picture, Path):
        read = read_picture(picture, halve=not box)
        if isinstance(read, str):
            return read
        image = read.image
    else:
        image = Image.fromarray(picture)
    if image.mode != (mode := "L" if grey else "RGB"):
        image = image.convert(mode)
    square = _square_of(box, *image.size) if box else _central_square(*image.size)
    if square is None:
        return "bad_box"
    if not _inside(square, *image.size):
        if (square[2] - square[0]) ** 2 > MAX_PIXELS:  # Pillow's own limit for a crop is lower
            return "too_large"
        with without_limit():
            image = image.crop(square)
        square = (0, 0, *image.size)
    # the pixels are copied only where they change, and a part of the picture is not copied before it is resized
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=square, reducing_gap=1.0)
    return np.asarray(image).reshape(size, size, -1)


def _inside(square: tuple[int, int, int, int], width: int, height: int) -> bool:
    return square[0] >= 0 and square[1] >= 0 and square[2] <= width and square[3] <= height


def _central_square(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _square_of(box: tuple[float, ...], width: int, height: int) -> tuple[int, int, int, int] | None:
    """The box extended to a square, or None where it overlaps no pixel of the image."""
    left, top, right, bottom = box
    if min(right, width) - max(left, 0) < 1 or min(bottom, height) - max(top, 0) < 1:
        return None
    side = round(max(right - left, bottom - top))
    if side > MOST_SIDES * max(width, height):
        return None  # not a face in this picture
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    return x, y, x + side, y + side
