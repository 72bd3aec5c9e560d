"""Reads ``metrics.jsonl`` without importing torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fecnet.utils.errors import UserError


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, each with an ``iteration``; an incomplete last line is skipped.

    Returns:
        The parsed lines; an empty list where the file does not exist, since nothing was logged.

    Raises:
        UserError: a line is not a JSON object with an ``iteration``.
    """
    found: list[dict[str, Any]] = []
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], start=1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):  # numbers of thousands of digits too
            values = None
        if not isinstance(values, dict) or not isinstance(values.get("iteration"), int):
            raise UserError(f"{path}:{number}: not a line of metrics with an 'iteration': {line[:60]!r}")
        found.append(values)
    return found
