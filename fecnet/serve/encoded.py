"""Encodes pictures for pages from pixels, without the metadata of files."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from fecnet.run_page.pictures import visible


def jpeg(image_HWC: np.ndarray, side: int) -> bytes:
    """A photo whose longer side has at most ``side`` pixels; uint8 RGB."""
    image, held = Image.fromarray(image_HWC), io.BytesIO()
    image.thumbnail((side, side))
    image.save(held, "JPEG", quality=85)
    return held.getvalue()


def png(face_SSC: np.ndarray, side: int = 0) -> bytes:
    """A stored face without its mask, lossless; a smaller one is enlarged to ``side`` pixels."""
    image, held = Image.fromarray(visible(face_SSC)), io.BytesIO()
    if image.width < side:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    image.save(held, "PNG", compress_level=1)
    return held.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """A picture inside a page: ``kind`` is ``jpeg`` or ``png``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
