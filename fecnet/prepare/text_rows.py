"""Rows of comma-separated text; every line is counted, whatever its content.

A line is a row: an unclosed quote affects its own line only, not the rest of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fecnet.faces.picture_lists import split_line
from fecnet.utils.errors import DataError
from fecnet.utils.files import check_file

_PROBE = 1 << 16  # bytes checked to recognise a text file
_BAR_STEP = 4096  # lines between two updates of the progress bar
_WHOLE = re.compile(r"([+-]?\d{1,18})(?:\.0*|,0)?", re.ASCII)
_POWER = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d{1,3}", re.ASCII)
_EXACT = 1e15  # a float represents every whole number below this exactly
_SAMPLE = 160  # characters kept of the first line dropped for each reason


class Tally:
    """Counts of lines read and of lines dropped by reason, with the first line of each reason.

    Args:
        reasons: all reasons, so that a table shows 0 where nothing was dropped.
    """

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self.num_read = 0
        self.num_invalid = 0  # lines with invalid UTF-8, kept or dropped
        self._dropped = Counter(dict.fromkeys(reasons, 0))
        self._first: dict[str, dict[str, Any]] = {}

    def drop(self, reason: str, line: int, text: str) -> None:
        """Count a dropped line."""
        self._dropped[reason] += 1
        if reason not in self._first:
            self._first[reason] = {"line": line, "text": text.rstrip("\n")[:_SAMPLE]}

    def add(self, other: Tally) -> None:
        """Add the counts of a tally of other lines."""
        self.num_read += other.num_read
        self.num_invalid += other.num_invalid
        self._dropped.update(other._dropped)
        self._first = other._first | self._first

    def coverage(self) -> dict[str, Any]:
        """``read`` = ``kept`` + the sum of ``dropped``; ``first`` holds line and text of the first line dropped."""
        return {
            "read": self.num_read,
            "kept": self.num_read - self._dropped.total(),
            "dropped": dict(self._dropped),
            "flagged": {"invalid_utf8": self.num_invalid},
            "first": dict(self._first),
        }


def whole_number(text: str) -> int | None:
    """The whole number in a field, or None.

    Tables may write 3 as ``3.0`` (where another row of the column is empty) or ``3,0`` (with decimal commas), and numpy
    writes ``3.000000000000000000e+00``.
    """
    text = text.strip()
    if found := _WHOLE.fullmatch(text):
        return int(found[1])
    value = float(text) if _POWER.fullmatch(text) else 0.5
    return int(value) if value.is_integer() and abs(value) < _EXACT else None


def number(text: str) -> float:
    """The number in a field; NaN if it is not a number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def check_text_file(path: Path) -> None:
    """Check that a file can be a table.

    Raises:
        DataError: no such file, a folder, an empty file, or a binary file.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a text file of comma-separated values")
    check_file(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(_PROBE)
    if not start.removeprefix(b"\xef\xbb\xbf"):
        raise DataError(f"{path}: is empty; give a text file of comma-separated values")
    if b"\0" in start:
        raise DataError(f"{path}: contains zero bytes, so it is not text; give comma-separated values in UTF-8")


def text_rows(
    path: Path, tally: Tally, *, progress: bool, separator: str = ","
) -> Iterator[tuple[int, str, list[str]]]:
    """Line number from 1, text and fields of every line; counts the lines in ``tally``.

    Fields are stripped of quotes and surrounding spaces; trailing empty fields are dropped. Invalid UTF-8 bytes are
    escaped as a backslash, an x and two digits, so that different texts stay different and can be written again.

    Args:
        path: the file; line ends LF, CRLF or CR, with or without byte order mark.
        tally: counts the lines, and those with invalid UTF-8.
        progress: show a progress bar.
        separator: separator of fields; a space means any white space.

    Raises:
        DataError: see ``check_text_file``.
    """
    check_text_file(path)
    size = path.stat().st_size
    bar = tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=not progress)
    with bar, path.open("rb") as data, TextIOWrapper(data, "utf-8-sig", "surrogateescape") as file:
        for line, text in enumerate(file, start=1):
            tally.num_read = line
            if not text.isascii():
                text = _escape_invalid(text, tally)
            yield line, text, _fields(text, separator)
            if line % _BAR_STEP == 0:
                bar.update(data.tell() - bar.n)
        bar.update(size - bar.n)


def _escape_invalid(text: str, tally: Tally) -> str:
    data = text.encode("utf-8", "surrogateescape")
    corrected = data.decode("utf-8", "backslashreplace")
    tally.num_invalid += corrected != text
    return corrected


def _fields(text: str, separator: str) -> list[str]:
    text = text.rstrip("\n")
    if '"' in text or separator != ",":
        fields = split_line(text, separator)
    else:
        fields = text.split(",")
        if " " in text or "\t" in text:
            fields = [field.strip(" \t") for field in fields]
    while fields and not fields[-1]:
        fields.pop()
    return fields
