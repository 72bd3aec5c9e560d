"""Bodies of requests: JSON of bounded size and depth, and files that stay in memory."""

from __future__ import annotations

import json
import sys
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

MAX_JSON, MAX_DEPTH = 64 * 1024, 8  # bytes; levels of lists and objects
_MAX_FIELD = 4096  # bytes of a form's text


async def read_json(request: Request, *, max_bytes: int = MAX_JSON, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        HTTPException: 413 too large; 415 another type; 400 not a JSON object, or one that is too deep.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "content type: expected application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"JSON: too large; allowed: {max_bytes:,} bytes", {"connection": "close"})
    try:
        value = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as raised:
        raise HTTPException(400, f"JSON: cannot be read: {raised}") from raised
    if not isinstance(value, dict):
        raise HTTPException(400, "JSON: expected an object")
    if _depth(value) > max_depth:
        raise HTTPException(400, f"JSON: too deep; allowed: {max_depth} levels")
    return value


def _refuse(name: str) -> None:
    raise HTTPException(400, f"JSON: {name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # one: json.loads would make another for each body


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [item for part in level for item in (part.values() if isinstance(part, dict) else part)]
    return depth


class Form:
    """A submitted form: its text by name, and its files as bytes without their names."""

    def __init__(self, text: dict[str, str], files: dict[str, list[bytes]]) -> None:
        self.text, self.files = text, files


async def read_form(request: Request, *, max_file: int, max_files: int, max_fields: int = 8) -> Form:
    """The text and files of a form; they are never written to disk.

    Args:
        request: the request; its body is bounded by the ``Policy``.
        max_file: maximum size of a file, bytes.
        max_files: maximum number of files.
        max_fields: maximum number of other fields.

    Raises:
        HTTPException: 415 no form; 400 unreadable, or too many files or fields; 413 a file is too large.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "content type: expected multipart/form-data")
    parser = _InMemory(
        request.headers, request.stream(), max_files=max_files, max_fields=max_fields, max_part_size=_MAX_FIELD
    )
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError) as raised:  # the latter from Starlette before 1.0
        raise HTTPException(400, f"form: {raised}") from raised
    try:
        return _contents(form, max_file)
    finally:
        await form.close()


def _contents(form: FormData, max_file: int) -> Form:
    text: dict[str, str] = {}
    files: dict[str, list[bytes]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            content = value.file.read()
            if len(content) > max_file:
                raise HTTPException(413, f"{name}: {len(content):,} bytes; allowed: {max_file:,} a file")
            files.setdefault(name, []).append(content)
        else:
            text[name] = value
    return Form(text, files)


class _InMemory(MultiPartParser):
    """Parser that keeps files in memory; Starlette's writes files of more than a megabyte to disk."""

    spool_max_size = sys.maxsize
