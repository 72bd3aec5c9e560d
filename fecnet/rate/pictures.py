"""The pictures of a study: copies for browsers and for training, without the metadata of cameras."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from tqdm import tqdm

from fecnet.faces.decode import read_picture
from fecnet.utils.files import write_bytes

if TYPE_CHECKING:  # the server must not import the readers of sources, and with them torch
    from fecnet.rate.sources import SourceFace

LONGEST = 1024  # maximum longer side of a copy, pixels: enough for the screen of a phone and for training
_SMALL = 256  # pixels: pictures up to this side are stored lossless
_QUALITY = 95
MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


def copy_pictures(
    faces: Sequence[SourceFace], folder: Path, *, progress: bool
) -> tuple[list[tuple[SourceFace, str]], Counter[str]]:
    """Write a copy of each picture, upright, at most ``LONGEST`` pixels, named by a number.

    Pixels and small pictures are kept as PNG; photos become JPEG without metadata such as the place where they were
    taken.

    Args:
        faces: the faces of the source.
        folder: folder to write to.
        progress: show a progress bar.

    Returns:
        The faces with the names of their files; and the number of dropped pictures by reason: those of
        ``fecnet.faces.decode``, or ``duplicate`` for identical pixels.
    """
    kept: list[tuple[SourceFace, str]] = []
    dropped: Counter[str] = Counter()
    seen: set[bytes] = set()
    bar: Iterable[SourceFace] = tqdm(faces, desc="pictures", unit="face", disable=None if progress else True)
    for face in bar:
        copied = _copy(face.picture)
        if isinstance(copied, str):
            dropped[copied] += 1
            continue
        content, suffix = copied
        digest = hashlib.sha256(content).digest()
        if digest in seen:
            dropped["duplicate"] += 1
            continue
        seen.add(digest)
        name = f"{len(kept) + 1:06d}{suffix}"
        write_bytes(folder / name, content)
        kept.append((face, name))
    return kept, dropped


def _copy(picture: Path | np.ndarray) -> tuple[bytes, str] | str:
    """The content of a copy and its suffix, or the reason why there is none."""
    held = io.BytesIO()
    if isinstance(picture, np.ndarray):
        pixels = picture[..., 0] if picture.ndim == 3 and picture.shape[2] in (1, 2) else picture[..., :3]
        Image.fromarray(np.ascontiguousarray(pixels)).save(held, "PNG")
        return held.getvalue(), ".png"
    read = read_picture(picture, halve=True)
    if isinstance(read, str):
        return read
    image = read.image.convert("RGB")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    image.info.clear()
    if max(image.size) <= _SMALL:
        image.save(held, "PNG")
        return held.getvalue(), ".png"
    image.save(held, "JPEG", quality=_QUALITY, subsampling=0)
    return held.getvalue(), ".jpg"
