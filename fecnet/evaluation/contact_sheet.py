"""Contact sheet: a grid of small captioned images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fecnet.utils.errors import UserError
from fecnet.utils.files import replace_bytes

_GAP = 2  # pixels between images
_CAPTION = 13  # pixels per caption line in the built-in font


def contact_sheet(
    image_NHWC: np.ndarray, columns: int, path: str | Path, captions: Sequence[str] | None = None
) -> None:
    """Write images as a grid, row by row.

    Args:
        image_NHWC: uint8, shape (N, H, W, C); with one or two channels the first is shown as grey, else the first
            three as colour.
        columns: images per row.
        path: the image file to write; its suffix determines the format.
        captions: N short captions below the images, of one or more lines, or None.

    Raises:
        UserError: there is no image, or ``columns`` is below 1.
    """
    num, height, width, channels = image_NHWC.shape
    if num == 0 or columns < 1:
        raise UserError(f"a contact sheet needs images and columns; got {num} images, {columns} columns")
    assert captions is None or len(captions) == num, (captions, num)
    image_NHWC = image_NHWC[..., :1].repeat(3, axis=3) if channels < 3 else image_NHWC[..., :3]
    lines = max(caption.count("\n") + 1 for caption in captions) if captions is not None else 0
    cell_height = height + _GAP + _CAPTION * lines
    rows = -(-num // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * cell_height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for k, image in enumerate(image_NHWC):
        left, top = _GAP + k % columns * (width + _GAP), _GAP + k // columns * cell_height
        sheet.paste(Image.fromarray(np.ascontiguousarray(image)), (left, top))
        if captions is not None:
            draw.text((left + 1, top + height), captions[k], fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, format="png", optimize=True)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(Path(path), buffer.getbuffer())
