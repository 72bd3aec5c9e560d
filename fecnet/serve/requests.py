"""Reads requests: photos in a form, or the embeddings of faces as JSON.

Shape suffix: D numbers of an embedding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from fastapi import Request
from starlette.exceptions import HTTPException

from fecnet.web.bodies import read_form, read_json

MAX_PHOTO, MAX_PHOTOS = 20_000_000, 10  # bytes of a photo; photos of a request
MAX_BODY = 64_000_000  # bytes: ten photos of a phone
_MAX_JSON = 256 * 1024  # three embeddings of some thousand numbers
_UPLOAD_S = 60.0  # time limit of an upload, so that a slow client does not occupy a place in the queue
_UNIT = 1e-3  # tolerance of an embedding's length


def is_json(request: Request) -> bool:
    """Whether the content type of a request is JSON."""
    return request.headers.get("content-type", "").lower().startswith("application/json")


class Sent(NamedTuple):
    """The photos of a request, and whether it asks for a preview of each."""

    photos: list[bytes]
    preview: bool


async def read_photos(request: Request, *, least: int, most: int) -> Sent:
    """The files of the parts named ``photo``, and the field ``preview``.

    Raises:
        HTTPException: too many, too few, too large, too slow, or other parts.
    """
    try:
        async with asyncio.timeout(_UPLOAD_S):
            form = await read_form(request, max_file=MAX_PHOTO, max_files=MAX_PHOTOS, max_fields=1)
    except TimeoutError as error:
        raise HTTPException(408, f"photo: not sent within {_UPLOAD_S:.0f} seconds", {"connection": "close"}) from error
    if other := sorted({*(set(form.files) - {"photo"}), *(set(form.text) - {"preview"})}):
        raise HTTPException(400, f"form: unknown part {other[0][:40]!r}; allowed: photo (a file), preview")
    if (preview := form.text.get("preview", "no")) not in ("yes", "no"):
        raise HTTPException(400, f"preview: {preview[:40]!r}; allowed: yes, no")
    photos = form.files.get("photo", [])
    if not least <= len(photos) <= most:
        expected = str(most) if least == most else f"{least} to {most}"
        raise HTTPException(400, f"photo: {len(photos)} sent; expected {expected}, each a part named photo")
    return Sent(photos, preview == "yes")


async def read_keys(request: Request, allowed: Sequence[str]) -> dict[str, Any]:
    """A JSON object that has only allowed keys.

    Raises:
        HTTPException: not a JSON object, or an unknown key.
    """
    found = await read_json(request, max_bytes=_MAX_JSON)
    if other := sorted(set(found) - set(allowed)):
        raise HTTPException(400, f"JSON: unknown key {other[0][:40]!r}; allowed: {', '.join(allowed)}")
    return found


def as_embedding(value: Any, dims: int, name: str = "embedding") -> np.ndarray:
    """An embedding as returned by ``/api/faces``, float32, shape (D,).

    Raises:
        HTTPException: not ``dims`` numbers, or not of length 1.
    """
    numbers = isinstance(value, list) and all(type(number) in (int, float) for number in value)
    if not numbers or len(value) != dims:
        raise HTTPException(400, f"{name}: expected a list of {dims} numbers, as /api/faces gives it")
    vector_D = np.array([float(max(-2, min(2, number))) for number in value], np.float32)
    length = float(np.linalg.norm(vector_D))
    if not abs(length - 1) < _UNIT:
        raise HTTPException(400, f"{name}: not of length 1; expected an embedding as /api/faces gives it")
    return vector_D


def as_number(value: Any, name: str, low: int, high: int) -> int:
    """A whole number.

    Raises:
        HTTPException: not a whole number, or out of range.
    """
    if type(value) is not int or not low <= value <= high:
        raise HTTPException(400, f"{name}: expected a whole number, {low} to {high}")
    return value
