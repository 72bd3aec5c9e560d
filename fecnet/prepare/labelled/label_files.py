"""Helpers of the readers of labelled data: text files, CSV tables, image folders, names, counts."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PureWindowsPath
from typing import Any

from fecnet.faces.picture_lists import separator_of
from fecnet.utils.errors import DataError
from fecnet.utils.files import check_file, hash_file
from fecnet.utils.shown import cut

_STRAY = re.compile("[\udc80-\udcff]")  # how Python represents invalid UTF-8 bytes


class Dropped(defaultdict[str, Counter[str]]):
    """Counts of dropped rows: split to reason to count."""

    def __init__(self) -> None:
        super().__init__(Counter)

    def add(self, split: str, reason: str) -> None:
        """Count one."""
        self[split][reason] += 1


def read_lines(path: Path) -> list[str]:
    """Non-empty lines of a UTF-8 text file, with or without byte-order mark, any line ends.

    Raises:
        DataError: no such file, not text, or empty.
    """
    lines = [line.strip() for line in _text_of(path) if line.strip()]
    if not lines:
        raise DataError(f"{path}: empty file")
    return lines


def read_header(path: Path) -> list[str]:
    """The first row of a table as column names: in lower case, stripped of spaces.

    Raises:
        DataError: no such file, not text, or not CSV.
    """
    _, header = _open_table(path)
    return [name.lower() for name in header]


def read_table(
    path: Path, columns: Sequence[str], header_if_none: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header: line number and values by column name, stripped of spaces.

    The separator is that of the first row: comma, semicolon, tab or white space. Missing values at the end of a row are
    empty; column names are case-insensitive. A row with more values than columns is an error, since the assignment of
    its values is ambiguous.

    Args:
        path: UTF-8, with or without byte-order mark, any line ends.
        columns: required columns, in lower case.
        header_if_none: column names of a file whose first row has none of ``columns``.

    Raises:
        DataError: no such file, not text, empty, a column is missing or occurs twice, or a row is too long.
    """
    rows, first = _open_table(path)
    header = [name.lower() for name in first]
    ready: list[list[str]] = []
    if first and header_if_none is not None and not {*header} & {*columns}:
        header, ready = list(header_if_none), [first]
    if lacking := [name for name in columns if name not in header]:
        seen = ", ".join(header)[:100] or "an empty file"
        raise DataError(f"{path}: no column {', '.join(lacking)}; seen: {seen}; needed: {', '.join(columns)}")
    if twice := [name for name, times in Counter(header).items() if name and times > 1]:
        raise DataError(f"{path}: column {cut(twice[0])} {header.count(twice[0])} times; allowed: once")
    try:
        for row in chain(ready, rows):
            if any(value.strip() for value in row):
                if any(value.strip() for value in row[len(header) :]):
                    problem = f"{len(row)} values for {len(header)} columns; quote values that hold a comma"
                    raise DataError(f"{path}: line {rows.line_num}: {problem}")
                padded = [value.strip() for value in row] + [""] * (len(header) - len(row))
                yield rows.line_num, dict(zip(header, padded, strict=False))
    except csv.Error as error:
        raise _not_csv(path, rows.line_num, error) from error


def _open_table(path: Path) -> tuple[Any, list[str]]:
    """A reader of the rows after the first one, and the first one."""
    lines = _text_of(path)
    start = next(lines, "")
    mark = separator_of(start)
    every = chain([start], lines)
    spaced = (" ".join(line.split()) + "\n" for line in every) if mark == " " else every
    rows = csv.reader(
        spaced, delimiter=mark, strict=True
    )  # strict: otherwise an unbalanced quote would take in all following lines
    try:
        return rows, [value.strip() for value in next(rows, [])]
    except csv.Error as error:
        raise _not_csv(path, rows.line_num, error) from error


def _not_csv(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(f"{path}: line {line}: not CSV: {error}")


def _text_of(path: Path) -> Iterator[str]:
    """The lines with their line ends, as the csv module needs them."""
    if path.is_dir():
        raise DataError(f"{path}: a folder; expected: a text file")
    check_file(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        for number, line in enumerate(file, start=1):
            if not line.isascii() and (stray := _STRAY.search(line)):
                byte = ord(stray[0]) - 0xDC00
                raise DataError(f"{path}: line {number}: not UTF-8 text: a byte 0x{byte:02x}; save it as UTF-8")
            yield line


def subfolders(path: Path) -> list[Path]:
    """The folders in ``path``, sorted by name, without hidden ones.

    Raises:
        DataError: no such folder.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def levels(path: Path) -> Iterator[list[Path]]:
    """The folder, then its subfolders, then theirs, since archives add levels. Empty where ``path`` is no folder."""
    level = [path] if path.is_dir() else []
    for depth in range(3):
        level = [below for folder in level for below in subfolders(folder)] if depth else level
        if level:
            yield level


def picture_name(picture: Path, root: Path) -> str:
    """The path of an image relative to ``root``, with ``/``; invalid UTF-8 bytes are escaped."""
    return escaped(picture.relative_to(root).as_posix())


def escaped(name: str) -> str:
    """The name of a file or folder as text that can be written; invalid UTF-8 bytes are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def hash_of(*paths: Path) -> dict[str, str]:
    """File name to sha256."""
    return {path.name: hash_file(path) for path in paths}


def is_inside(name: str) -> bool:
    """Whether a path in a published list stays inside the folder of the images."""
    parts = PureWindowsPath(name)  # split at both kinds of slash
    return bool(parts.name) and not parts.anchor and ".." not in parts.parts and "\0" not in name
