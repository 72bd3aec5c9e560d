"""Inline images: faces as data URIs, so that nothing is fetched."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, features

from fecnet.run_page.markup import Markup, element

_SHOWN = 96  # pixels; larger faces are scaled down


def face_picture(image_HWC: np.ndarray, alt: str) -> Markup:
    """One face as an ``img``.

    Args:
        image_HWC: uint8, of one to four channels as stored.
        alt: alternative text.
    """
    image = Image.fromarray(visible(image_HWC))
    image.thumbnail((_SHOWN, _SHOWN))
    return element("img", src=data_uri(image, quality=80), alt=alt, class_="face", width=_SHOWN, height=_SHOWN)


def visible(image_HWC: np.ndarray) -> np.ndarray:
    """Grey or colour channels without a mask, shape (H, W) or (H, W, 3)."""
    return np.ascontiguousarray(image_HWC[..., :3] if image_HWC.shape[-1] >= 3 else image_HWC[..., 0])


def data_uri(image: Image.Image, *, quality: int) -> str:
    """The image as a data URI: WebP, or PNG where Pillow lacks WebP."""
    form = "WEBP" if features.check("webp") else "PNG"
    held = io.BytesIO()
    image.save(held, form, quality=quality)
    return f"data:image/{form.lower()};base64,{base64.b64encode(held.getvalue()).decode()}"
