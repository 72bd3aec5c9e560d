"""The OpenAPI schema: request bodies that FastAPI does not parse, and the schema as rows for fecnet's own page."""

from __future__ import annotations

from typing import Any, NamedTuple

JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}


def photo_form(least: int, most: int) -> dict[str, Any]:
    """A request with photos."""
    return {"requestBody": {"required": True, "content": _form(least, most)}}


def photos_or(number: int, **keys: str) -> dict[str, Any]:
    """A request with photos, or with JSON of these keys, each with its meaning."""
    properties = {name: {"description": meaning} for name, meaning in keys.items()}
    content = _form(number, number) | {"application/json": {"schema": {"type": "object", "properties": properties}}}
    return {"requestBody": {"required": True, "content": content}}


def _form(least: int, most: int) -> dict[str, Any]:
    photo = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": least,
        "maxItems": most,
        "description": "a file" if most == 1 else f"{_range(least, most)} files, each a part of this name",
    }
    preview = {"type": "string", "enum": ["yes", "no"], "description": "yes: give each photo small and upright too"}
    properties = {"photo": photo, "preview": preview}
    return {"multipart/form-data": {"schema": {"type": "object", "properties": properties, "required": ["photo"]}}}


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


class Endpoint(NamedTuple):
    """An endpoint of the interface.

    Attributes:
        method: GET or POST.
        path: path with its parameters in braces.
        text: what it does.
        sends: type of each request body, and its fields: names and meanings.
        gives: fields of the response: names and meanings; or its media type, where that is a picture.
    """

    method: str
    path: str
    text: str
    sends: list[tuple[str, list[tuple[str, str]]]]
    gives: list[tuple[str, str]]


def described(schema: dict[str, Any]) -> list[Endpoint]:
    """The schema in rows, in order."""
    parts = schema["components"]["schemas"]
    return [
        Endpoint(
            method.upper(),
            path,
            operation["description"],
            [
                (kind, [(name, part.get("description", "")) for name, part in body["schema"]["properties"].items()])
                for kind, body in operation.get("requestBody", {}).get("content", {}).items()
            ],
            _gives(operation["responses"]["200"]["content"], parts),
        )
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]


def _gives(content: dict[str, Any], parts: dict[str, Any]) -> list[tuple[str, str]]:
    kind, body = next(iter(content.items()))
    reference = body.get("schema", {}).get("$ref", "")
    return _fields(reference, parts) if reference else [(kind, "a picture")]


def _fields(reference: str, parts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names with dots and brackets, such as ``photos[].faces[].box``, and their meanings."""
    found = []
    for name, part in parts[reference.rpartition("/")[2]]["properties"].items():
        inner = part.get("items", {}).get("$ref", "")
        found.append((f"{prefix}{name}", part.get("description", "")))
        if inner:
            found += _fields(inner, parts, f"{prefix}{name}[].")
    return found
