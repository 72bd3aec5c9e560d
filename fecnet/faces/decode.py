"""Decodes image files to uint8 RGB as shown by a viewer, or raises a one-line error.

Only Pillow decodes, so a photo gives identical pixels wherever the library versions are the same.
"""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fecnet.faces.quiet import quiet
from fecnet.utils.errors import DataError

MAX_PIXELS = 100_000_000  # 300 MB of RGB; above cameras and phones

# Allowed formats. Others are not: some of Pillow's readers start other programs (EPS) or are hardly tested.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM")

REASONS = {
    "not_an_image": "not an image in a known format",
    "unsupported": "an image whose pixels have no agreed meaning as 8-bit RGB",
    "truncated": "the file ends before the picture does",
    "damaged": "the content does not decode",
    "too_small": "fewer pixels on a side than required",
    "too_large": "more pixels than allowed",
}


class UnreadableImage(DataError):
    """An image that cannot be used.

    Args:
        name: the file, or a description of the source.
        reason: a key of ``REASONS``, for counting.
        seen: details, in a few words.
    """

    def __init__(self, name: str, reason: str, seen: str = "") -> None:
        assert reason in REASONS, reason
        super().__init__(f"{name}: {reason}: {seen or REASONS[reason]}")
        self.reason = reason


def decode_image(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS, min_side: int = 1) -> np.ndarray:
    """Decode an image as a viewer shows it.

    EXIF (or XMP) orientation is applied, transparency is blended with white, 16 bits are scaled to 8, CMYK, palette,
    grayscale and 1-bit images are converted to RGB, and the first of several frames is used. Colour profiles are not
    applied. The size is checked before any pixel is decoded.

    Args:
        source: the content of a file, or its path.
        max_pixels: maximum width × height.
        min_side: minimum pixels on the shorter side.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        UnreadableImage: with a ``reason`` of ``REASONS``.
        OSError: the file cannot be opened, or is not a regular file: a pipe may block, a device may not end.
    """
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), f"image of {len(source)} bytes", max_pixels, min_side)
    path = Path(source)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        return _decode(file, str(path), max_pixels, min_side)


def read_photo(path: str | Path) -> np.ndarray | str:
    """``decode_image`` that returns the reason instead of raising, for one photo among many.

    Returns:
        uint8, shape (H, W, 3), RGB; or the reason of failure: ``missing_file``, ``cannot_open`` (folder, no permission,
        a name too long or with a NUL), or a key of ``REASONS``.
    """
    if "\0" in str(path):  # not a valid file name
        return "cannot_open"
    try:
        return decode_image(path)
    except UnreadableImage as error:
        return error.reason
    except FileNotFoundError:
        return "missing_file"
    except (OSError, UnicodeEncodeError):  # UnicodeEncodeError: not a valid file name
        return "cannot_open"


def count_pictures(path: str | Path) -> int:
    """Number of frames of a file, of which ``decode_image`` reads the first; above 1 for an animation."""
    try:
        with quiet(), Path(path).open("rb") as file:
            return int(getattr(_open(file, str(path)), "n_frames", 1))
    except Exception:  # later frames may be damaged; the first is usable
        return 1


def _decode(file: io.IOBase, name: str, max_pixels: int, min_side: int) -> np.ndarray:
    with quiet():
        image = _open(file, name)
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImage(name, "too_large", f"{width}×{height} pixels; allowed: {max_pixels:,} in all")
        if min(width, height) < min_side:
            raise UnreadableImage(name, "too_small", f"{width}×{height} pixels; expected: {min_side} or more on a side")
        try:
            image.load()
            return np.array(to_rgb(_upright(image), name))
        except UnreadableImage:
            raise
        except MemoryError as error:
            raise UnreadableImage(name, "too_large", f"no memory for {width}×{height} pixels") from error
        except Exception as error:  # decoders raise various exceptions for damaged files
            reason = "truncated" if "truncated" in str(error).lower() else "damaged"
            raise UnreadableImage(name, reason, f"{image.format}: {_one_line(error)}") from error


def _open(file: io.IOBase, name: str) -> Image.Image:
    """Read the header."""
    Image.init()
    try:
        return Image.open(file, formats=[known for known in _FORMATS if known in Image.OPEN])  # type: ignore[arg-type]
    except Image.DecompressionBombError as error:
        raise UnreadableImage(name, "too_large", _one_line(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(name, "not_an_image") from error
    except Exception as error:
        raise UnreadableImage(name, "damaged", _one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation; an unreadable one is ignored, as in viewers."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode of Pillow to RGB: transparency blended with white, 16 bits scaled to 8.

    Raises:
        UnreadableImage: the pixels have no agreed meaning as RGB; ``name`` is for the message.
    """
    if image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("F", "LAB", "HSV"):
        raise UnreadableImage(name, "unsupported", f"{image.format} with pixels of mode {image.mode}")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(grey_HW: np.ndarray) -> np.ndarray:
    """Round 16-bit grayscale to 8 bits; white stays white (65535 = 257 · 255)."""
    wide_HW = grey_HW.astype(np.int64).clip(0, 65535)
    return ((wide_HW + 128) // 257).astype(np.uint8)
