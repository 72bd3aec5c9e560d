"""Reads JSON files that state the version of their format, which is checked before anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fecnet.utils.errors import UserError
from fecnet.utils.shown import cut, shown


def read_versioned(file: Path, what: str, newest: int, error: type[UserError]) -> dict[str, Any]:
    """``parse_versioned`` of a file.

    Raises:
        UserError: of the class ``error``; see ``parse_versioned``.
        OSError: it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as found:
        raise error(f"{file}: not {what}: {cut(str(found))}") from found
    return parse_versioned(text, str(file), what, newest, error)


def parse_versioned(text: str, origin: str, what: str, newest: int, error: type[UserError]) -> dict[str, Any]:
    """Parse a JSON object and check its field ``format``.

    Args:
        text: JSON.
        origin: file it was read from, for error messages.
        what: what the file should be, such as ``a data set description``, for error messages.
        newest: version of the format that this fecnet writes.
        error: class of the errors.

    Raises:
        UserError: of the class ``error``: not a JSON object, or an unsupported version of the format.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"{origin}: not {what}: {cut(str(problem))}") from problem
    if not isinstance(found, dict) or "format" not in found:
        raise error(f"{origin}: not {what}: lacks 'format'")
    check_format(found["format"], newest, origin, error)
    return found


def check_format(found: object, newest: int, origin: str | Path, error: type[UserError]) -> None:
    """Check that this fecnet reads a version of a format.

    Args:
        found: the version in the file.
        newest: the version that this fecnet writes; it reads all versions from 1 to this one.
        origin: the file, for error messages.
        error: class of the errors.

    Raises:
        UserError: of the class ``error``: a newer version, or not a version number.
    """
    if type(found) is not int or found < 1:  # true and 1.0 equal 1 in Python, but are not versions
        allowed = ", ".join(str(version) for version in range(1, newest + 1))
        raise error(f"{origin}: 'format' is {shown(found)}; allowed: {allowed}")
    if found > newest:
        raise error(
            f"{origin}: made by a newer fecnet: format {shown(found)}, this one reads up to {newest}; upgrade fecnet"
        )
