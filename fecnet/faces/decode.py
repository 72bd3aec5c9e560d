"""Decodes image files to uint8 RGB as shown by a viewer, or raises a one-line error.

Only Pillow decodes, so a photo gives identical pixels wherever the library versions are the same.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fecnet.faces.picture_files import INSTALL, decoders, modern_format
from fecnet.faces.quiet import Shared, quiet
from fecnet.utils.errors import DataError
from fecnet.utils.files import check_file

MAX_PIXELS = 210_000_000  # 840 MB while Pillow holds it; phones reach 16,384 × 12,288
_HALVED_PIXELS = 100_000_000  # larger photos may be read at half their width and height
_STRIP = 512  # rows halved at once: even

REASONS = {
    "not_an_image": "not an image in a known format",
    "no_decoder": f"an image in a format that cannot be read here; {INSTALL}",
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


@contextmanager
def _lift_limit() -> Iterator[None]:
    # not None: Pillow reads the limit twice, and another thread may change it in between
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, sys.maxsize
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


without_limit = Shared(
    _lift_limit
)  # Pillow's own limit is below the resolution of some phones; ours is checked as soon as a size is known


class Photo(NamedTuple):
    """The pixels of a photo.

    Attributes:
        image_HWC: uint8, shape (H, W, 3), RGB.
        scale: pixels of the file per pixel of ``image_HWC``: 1, or 2 where it was read at half its size.
    """

    image_HWC: np.ndarray
    scale: int


class Picture(NamedTuple):
    """A photo as a Pillow image, for further steps by Pillow: the pixels are not copied.

    Attributes:
        image: RGB, upright.
        scale: see ``Photo``.
    """

    image: Image.Image
    scale: int


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
        return _pixels(_decode(io.BytesIO(source), _shown(source), max_pixels, min_side).image, _shown(source))
    return _pixels(_decode_file(str(source), max_pixels, min_side).image, _shown(source))


def _shown(source: bytes | str | Path) -> str:
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else str(source)


def read_photo(source: bytes | str | Path, *, halve: bool = False) -> Photo | str:
    """``decode_image`` that returns the reason instead of raising, for one photo among many.

    Args:
        source: the content of a file, or its path.
        halve: read a photo of more than 100 million pixels at half its width and height, in a quarter of the time and
            memory. Do not use it where a box may contain a small face.

    Returns:
        The photo; or the reason of failure: ``missing_file``, ``cannot_open`` (folder, no permission, a name too long
        or with a NUL), or a key of ``REASONS``.
    """
    picture = read_picture(source, halve=halve)
    if isinstance(picture, str):
        return picture
    try:
        return Photo(_pixels(picture.image, _shown(source)), picture.scale)
    except UnreadableImage as error:
        return error.reason


def read_picture(source: bytes | str | Path, *, halve: bool = False) -> Picture | str:
    """``read_photo`` that returns a Pillow image instead of an array."""
    if not isinstance(source, bytes) and "\0" in str(source):  # not a valid file name
        return "cannot_open"
    try:
        if isinstance(source, bytes):
            return _decode(io.BytesIO(source), _shown(source), MAX_PIXELS, 1, halve=halve)
        return _decode_file(str(source), halve=halve)
    except UnreadableImage as error:
        return error.reason
    except FileNotFoundError:
        return "missing_file"
    except (OSError, UnicodeEncodeError):  # UnicodeEncodeError: not a valid file name
        return "cannot_open"


def count_pictures(path: str | Path) -> int:
    """Number of frames of a file, of which ``decode_image`` reads the first; above 1 for an animation."""
    try:
        check_file(Path(path))
        with quiet(), without_limit(), Path(path).open("rb") as file:
            return int(getattr(_open(file, str(path)), "n_frames", 1))
    except Exception:  # later frames may be damaged; the first is usable
        return 1


def _decode_file(name: str, max_pixels: int = MAX_PIXELS, min_side: int = 1, *, halve: bool = False) -> Picture:
    # os and open: a Path made for each photo takes as long as opening the file
    if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "not a regular file", name)
    with open(name, "rb") as file:  # noqa: PTH123
        return _decode(file, name, max_pixels, min_side, halve=halve)


def _decode(file: io.IOBase, name: str, max_pixels: int, min_side: int, *, halve: bool = False) -> Picture:
    with quiet(), without_limit():
        image = _open(file, name)
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImage(name, "too_large", f"{width}×{height} pixels; allowed: {max_pixels:,} in all")
        if min(width, height) < min_side:
            raise UnreadableImage(name, "too_small", f"{width}×{height} pixels; expected: {min_side} or more on a side")
        if image.mode in ("F", "LAB", "HSV") or (image.mode == "I" and image.format == "TIFF"):  # 32 bits of any scale
            raise UnreadableImage(name, "unsupported", f"{image.format} with pixels of mode {image.mode}")
        halve = halve and width * height > _HALVED_PIXELS
        try:
            if halve:
                return Picture(_upright(_halved(image)), 2)
            image.load()
            return Picture(to_rgb(_upright(image)), 1)
        except UnreadableImage:
            raise
        except MemoryError as error:
            raise _too_large(name, image) from error
        except Exception as error:  # decoders raise various exceptions for damaged files
            reason = "truncated" if "truncated" in str(error).lower() else "damaged"
            raise UnreadableImage(name, reason, f"{image.format}: {_one_line(error)}") from error


def _pixels(image: Image.Image, name: str) -> np.ndarray:
    try:
        return np.array(image)
    except MemoryError as error:
        raise _too_large(name, image) from error


def _too_large(name: str, image: Image.Image) -> UnreadableImage:
    return UnreadableImage(name, "too_large", f"no memory for {image.width}×{image.height} pixels")


def _halved(image: Image.Image) -> Image.Image:
    """The image as RGB at half its width and height, rounded up; the metadata of its orientation are kept."""
    width, height = image.size
    image.draft(None, (width // 2, height // 2))  # a JPEG is halved by its decoder; others ignore this
    image.load()
    small = Image.new("RGB", ((width + 1) // 2, (height + 1) // 2))
    step = 1 if image.size == small.size else 2
    for top in range(0, image.height, _STRIP):  # in strips, so that memory holds no second picture of this size
        strip = to_rgb(image.crop((0, top, image.width, min(top + _STRIP, image.height))))
        small.paste(strip.reduce(step), (0, top // step))
    small.info = dict(image.info)
    return small


def _open(file: io.IOBase, name: str) -> Image.Image:
    """Read the header."""
    try:
        return Image.open(file, formats=decoders())  # type: ignore[arg-type]
    except UnidentifiedImageError as error:
        file.seek(0)
        found = modern_format(file.read(12))
        if found and found not in decoders():
            raise UnreadableImage(name, "no_decoder", f"{found}; {INSTALL}") from error
        raise UnreadableImage(name, "not_an_image") from error
    except Exception as error:
        raise UnreadableImage(name, "damaged", _one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    """Apply the orientation, without a copy where there is none; an unreadable one is ignored, as in viewers."""
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert modes of Pillow to RGB: transparency blended with white, 16 bits scaled to 8."""
    if image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(grey_HW: np.ndarray) -> np.ndarray:
    """Round 16-bit grayscale to 8 bits; white stays white (65535 = 257 · 255)."""
    wide_HW = grey_HW.astype(np.int64).clip(0, 65535)
    return ((wide_HW + 128) // 257).astype(np.uint8)
