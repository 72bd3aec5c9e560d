"""Pictures for pages, encoded from pixels: nothing that a file has beside them."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def jpeg(image_HWC: np.ndarray, side: int) -> bytes:
    """A picture whose longer side has at most ``side`` pixels; uint8 RGB."""
    image, held = Image.fromarray(image_HWC), io.BytesIO()
    image.thumbnail((side, side))
    image.save(held, "JPEG", quality=85)
    return held.getvalue()


def jpeg_uri(content: bytes) -> str:
    """The same as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
