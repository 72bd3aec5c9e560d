"""Validates downloaded content as an image."""

from __future__ import annotations

import contextlib
import io
import threading

from PIL import Image, UnidentifiedImageError

from fecnet.faces.decode import MAX_PIXELS, without_limit
from fecnet.faces.picture_files import decoders, modern_format

MIN_SIDE = 32  # pixels; smaller ones are icons, spacers and tracking pixels
_LARGE_PIXELS = 2_000_000  # larger images are decoded one at a time
_LARGE = threading.Lock()
_MODERN = {"WEBP": ".webp", "AVIF": ".avif", "HEIF": ".heic"}
_SUFFIXES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
}


def suffix_of(content: bytes) -> str:
    """File name suffix by the first bytes; empty for an unknown format."""
    if found := modern_format(content[:12]):
        return _MODERN[found]
    return next((suffix for start, suffix in _SUFFIXES.items() if content.startswith(start)), "")


def picture_fault(content: bytes) -> str | None:
    """The fault of an image as one word, or None for a valid one.

    ``empty``, ``html``, ``not_an_image``, ``no_decoder`` (of HEIC or AVIF), ``too_small`` (a side below ``MIN_SIDE``),
    ``too_many_pixels``, ``truncated`` (the pixels do not decode to the end), ``one_colour``.
    """
    if not content:
        return "empty"
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<script")) or b"<html" in start:
        return "html"
    with without_limit():
        return _image_fault(content)


def _image_fault(content: bytes) -> str | None:
    try:
        picture = Image.open(io.BytesIO(content), formats=decoders())
    except UnidentifiedImageError:
        return "no_decoder" if modern_format(content[:12]) not in ("", *decoders()) else "not_an_image"
    except Exception:  # Pillow's readers raise various exceptions on damaged headers
        return "truncated"
    with picture:
        if min(picture.size) < MIN_SIDE:
            return "too_small"
        if picture.width * picture.height > MAX_PIXELS:
            return "too_many_pixels"
        # Decode a JPEG at an eighth of its side: this reads the whole stream with a sixty-fourth of the memory.
        picture.draft(None, (picture.width // 8, picture.height // 8))
        with _LARGE if picture.width * picture.height > _LARGE_PIXELS else contextlib.nullcontext():
            return _pixels_fault(picture)


def _pixels_fault(picture: Image.Image) -> str | None:
    try:
        picture.load()
    except Exception:  # see above
        return "truncated"
    extrema = picture.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return "one_colour" if all(low == high for low, high in bands) else None
