"""JSON from and to dataclasses; a missing field or a wrong type is an error that names the field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from fecnet.utils.errors import UserError
from fecnet.utils.shown import cut, shown

T = TypeVar("T")

NOT_JSON = {"json": False}  # metadata of a field that is not serialised

_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True, kw_only=True)
class DescribedFile:
    """A file of a packed set or an index, as their descriptions list it."""

    sha256: str
    bytes: int | None = None


def from_json(kind: type[T], value: Any, name: str, prefix: str = "") -> T:
    """Build a dataclass from parsed JSON.

    Args:
        kind: a dataclass. Its fields are ``bool``, ``int``, ``float``, ``str``, ``Literal``, ``Any``, a dataclass, a
            ``list``, ``tuple[X, ...]`` or ``dict`` of these, or one of them ``| None``; one with a default may be
            absent.
        value: as returned by ``json.loads``.
        name: the file, for error messages.
        prefix: dotted key of ``value`` in the file.

    Raises:
        UserError: a field is missing, unknown or of another type.
    """
    if not isinstance(value, dict):
        _refuse(name, prefix, value, kind)
    known, hints = {field.name: field for field in _json_fields(kind)}, get_type_hints(kind)
    for key in value:
        if key not in known:
            raise UserError(f"{name}: unknown field '{cut(_dotted(prefix, key))}'; allowed: {', '.join(known)}")
    found = {}
    for key, field in known.items():
        if key in value:
            found[key] = _read(hints[key], value[key], name, _dotted(prefix, key))
        elif field.default is MISSING:
            raise UserError(f"{name}: lacks '{_dotted(prefix, key)}'; allowed: {_allowed(hints[key])}")
    return kind(**found)


def check_json(kind: Any, value: Any, name: str, prefix: str = "") -> None:
    """Check that parsed JSON fits a dataclass, as ``from_json`` does, but ignore unknown fields at the top level.

    Raises:
        UserError: a field is missing or of another type.
    """
    known = {field.name for field in _json_fields(kind)}
    if isinstance(value, dict):
        value = {key: part for key, part in value.items() if key in known}
    from_json(kind, value, name, prefix)


def to_json(value: Any) -> Any:
    """The inverse of ``from_json``; an optional field that is None is left out."""
    if not is_dataclass(value):
        return value
    held = {field.name: (getattr(value, field.name), field.default) for field in _json_fields(type(value))}
    return {key: to_json(part) for key, (part, default) in held.items() if part is not None or default is MISSING}


def _json_fields(kind: Any) -> Iterator[Field[Any]]:
    return (field for field in fields(kind) if field.metadata.get("json", True))


def _dotted(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _read(kind: Any, value: Any, name: str, key: str) -> Any:
    optional = get_origin(kind) is UnionType  # X | None
    inner = get_args(kind)[0] if optional else kind
    if inner is Any or (optional and value is None):
        return value
    if not _fits(inner, value):
        _refuse(name, key, value, kind)
    if is_dataclass(inner):
        return from_json(inner, value, name, key)  # type: ignore[arg-type]
    if get_origin(inner) is list:
        return [_read(get_args(inner)[0], item, name, f"{key}[{place}]") for place, item in enumerate(value)]
    if get_origin(inner) is tuple:
        return tuple(_read(get_args(inner)[0], item, name, f"{key}[{place}]") for place, item in enumerate(value))
    if get_origin(inner) is dict:
        return {part: _read(get_args(inner)[1], item, name, f"{key}.{part}") for part, item in value.items()}
    return value


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a type, ignoring the types of its items; an int is accepted as a float."""
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if isinstance(value, bool):
        return kind is bool
    if is_dataclass(kind):
        return isinstance(value, dict)
    origin = get_origin(kind) or kind
    return isinstance(value, {float: (int, float), tuple: (list, tuple)}.get(origin, origin))


def _allowed(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is UnionType:
        return f"{_allowed(get_args(kind)[0])} or null"
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    return _SCALARS.get(kind) or ("a list" if get_origin(kind) in (list, tuple) else "a mapping")


def _refuse(name: str, key: str, value: Any, kind: Any) -> NoReturn:
    what = f"'{cut(key)}' is" if key else "found"
    raise UserError(f"{name}: {what} {shown(value, _SHOWN)}; allowed: {_allowed(kind)}")
