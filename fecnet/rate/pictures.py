"""The pictures of a study: copies that a browser shows and a net is trained on, without what the camera wrote."""

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

if TYPE_CHECKING:  # a server shows pictures and needs nothing of what reads sources, with torch among it
    from fecnet.rate.sources import SourceFace

LONGEST = 1024  # pixels of the longer side of a copy: a phone shows no more, and a face in it is large enough
_SMALL = 256  # pixels: a picture no larger is kept pixel by pixel
_QUALITY = 95
MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


def copy_pictures(
    faces: Sequence[SourceFace], folder: Path, *, progress: bool
) -> tuple[list[tuple[SourceFace, str]], Counter[str]]:
    """Write a copy of each picture, upright, at most ``LONGEST`` pixels, named by a number.

    Pixels and small pictures are kept as PNG; photos become JPEG without metadata such as the place where they were
    taken.

    Args:
        faces: those of the source.
        folder: to write into.
        progress: show a progress bar.

    Returns:
        The faces with the names of their files; and how many pictures were left out, by reason: those of
        ``fecnet.faces.decode``, or ``duplicate`` for the same pixels as another one.
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
