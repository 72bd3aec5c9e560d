"""Any image file to uint8 RGB as a person sees it, or one line that says why not.

Pillow alone decodes, so a photo gives the same pixels wherever its library versions are the same.
"""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fecnet.faces.quiet import quiet
from fecnet.utils.errors import DataError

MAX_PIXELS = 100_000_000  # 300 MB of RGB; cameras and phones stay below

# Formats that photos come in. Others stay closed: some of Pillow's readers start programs (EPS) or are hardly tested.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM")

REASONS = {
    "not_an_image": "not an image in a known format",
    "unsupported": "an image whose pixels have no agreed meaning as 8-bit RGB",
    "truncated": "the file ends before the picture does",
    "damaged": "the content does not decode",
    "too_small": "fewer pixels on a side than wanted",
    "too_large": "more pixels than allowed",
}


class UnreadableImage(DataError):
    """An image that is refused.

    Args:
        name: the file, or what stands for it.
        reason: a key of ``REASONS``, for counting.
        seen: what was found, in a few words.
    """

    def __init__(self, name: str, reason: str, seen: str = "") -> None:
        assert reason in REASONS, reason
        super().__init__(f"{name}: {reason}: {seen or REASONS[reason]}")
        self.reason = reason


def decode_image(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS, min_side: int = 1) -> np.ndarray:
    """Decode an image the way a viewer shows it.

    EXIF (or XMP) orientation is applied, transparency is laid on white, 16 bits are scaled to 8, CMYK, palette, grey
    and 1-bit become RGB, and of several frames the first counts. Colour profiles are not applied. The size is checked
    before any pixel is decoded.

    Args:
        source: the content of a file, or its path.
        max_pixels: width × height allowed.
        min_side: pixels wanted on the shorter side.

    Returns:
        uint8, shape (H, W, 3), RGB.

    Raises:
        UnreadableImage: with a ``reason`` of ``REASONS``.
        OSError: the file cannot be opened, or is no regular file (a pipe would keep us waiting, a device never ends).
    """
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), f"image of {len(source)} bytes", max_pixels, min_side)
    path = Path(source)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        return _decode(file, str(path), max_pixels, min_side)


def read_photo(path: str | Path) -> np.ndarray | str:
    """``decode_image`` where one photo among many must not end the run.

    Returns:
        uint8, shape (H, W, 3), RGB; or why there is none: ``missing_file``, ``cannot_open`` (a folder, no permission, a
        name too long or with a NUL), or a key of ``REASONS``.
    """
    if "\0" in str(path):  # no file can have such a name
        return "cannot_open"
    try:
        return decode_image(path)
    except UnreadableImage as error:
        return error.reason
    except FileNotFoundError:
        return "missing_file"
    except (OSError, UnicodeEncodeError):  # the second: another name that no file can have
        return "cannot_open"


def count_pictures(path: str | Path) -> int:
    """How many pictures a file holds that ``decode_image`` reads the first of: more than 1 of an animation."""
    try:
        with quiet(), Path(path).open("rb") as file:
            return int(getattr(_open(file, str(path)), "n_frames", 1))
    except Exception:  # the others may be broken: the first was read all the same
        return 1


def _decode(file: io.IOBase, name: str, max_pixels: int, min_side: int) -> np.ndarray:
    with quiet():
        image = _open(file, name)
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImage(name, "too_large", f"{width}×{height} pixels; allowed: {max_pixels:,} in all")
        if min(width, height) < min_side:
            raise UnreadableImage(name, "too_small", f"{width}×{height} pixels; wanted: {min_side} on a side")
        try:
            image.load()
            return np.array(to_rgb(_upright(image), name))
        except UnreadableImage:
            raise
        except MemoryError as error:
            raise UnreadableImage(name, "too_large", f"no memory for {width}×{height} pixels") from error
        except Exception as error:  # broken files make the decoders raise nearly anything
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
    """Apply the orientation; one that cannot be read counts as upright, as in viewers."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Any of Pillow's modes as RGB: transparency on white, 16 bits scaled to 8.

    Raises:
        UnreadableImage: the pixels have no agreed meaning as RGB; ``name`` stands in the message.
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
    """16-bit grey to the nearest 8-bit grey; white stays white (65535 = 257 · 255)."""
    wide_HW = grey_HW.astype(np.int64).clip(0, 65535)
    return ((wide_HW + 128) // 257).astype(np.uint8)
