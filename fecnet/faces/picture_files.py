"""Which files are pictures or videos, by suffix, and which decoder a picture needs: one table for all commands."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Container
from functools import cache
from pathlib import Path, PurePath

from PIL import Image, features

# Pillow's format by suffix. Other formats of Pillow are not read: some of its readers start other programs (EPS) or are
# hardly tested.
_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    ".gif": "GIF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
    ".bmp": "BMP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
}
_OPTIONAL = ("WEBP", "AVIF")  # Pillow knows their names even where it was built without them
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}  # of ISO media files; other brands of pictures are HEIF's
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF")

PICTURE_SUFFIXES = tuple(_FORMATS)
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".vob"),
    *(".ts", ".mts", ".m2ts", ".m2t", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".dv", ".mxf"),
)
INSTALL = "install what decodes it: pip install 'fecnet[photos]'"


def is_picture(path: str | PurePath) -> bool:
    """Whether the suffix is that of a picture; its decoder may be missing."""
    return PurePath(path).suffix.lower() in _FORMATS


def is_video(path: str | PurePath) -> bool:
    """Whether the suffix is that of a video."""
    return PurePath(path).suffix.lower() in VIDEO_SUFFIXES


def has_decoder(path: str | PurePath) -> bool:
    """Whether the suffix is that of a picture which can be read here."""
    return _FORMATS.get(PurePath(path).suffix.lower()) in decoders()


@cache
def decoders() -> tuple[str, ...]:
    """The formats that can be read here, by Pillow's names, HEIF where pillow-heif is installed."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    formats = dict.fromkeys(_FORMATS.values())
    return tuple(
        name for name in formats if name in Image.OPEN and (name not in _OPTIONAL or features.check(name.lower()))
    )


def is_there(path: Path) -> bool:
    """Whether a file exists; False for an invalid name, such as one too long for the file system."""
    try:
        return path.is_file()
    except OSError:
        return False


def modern_format(start: bytes) -> str:
    """``AVIF``, ``HEIF`` or ``WEBP``, which not all installations decode, by the first bytes; else an empty string."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    return _BRANDS.get(start[8:12], "") if start[4:8] == b"ftyp" else ""


def decoder_hint(reasons: Container[str]) -> str:
    """How to install a decoder, for the end of a message, where ``no_decoder`` is among the reasons; else empty."""
    return f" ({INSTALL})" if "no_decoder" in reasons else ""


def count_suffixes(counts: Counter[str]) -> str:
    """Pictures without a decoder, counted by suffix, as text with the way to install one."""
    return ", ".join(f"{number:,} {suffix}" for suffix, number in sorted(counts.items())) + f" ({INSTALL})"
