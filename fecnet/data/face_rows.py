"""Reads ``faces.csv`` of a packed data set, a row at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from fecnet.structures import FACE_COLUMNS
from fecnet.utils.errors import DataError
from fecnet.utils.shown import cut


def face_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Rows of ``faces.csv`` by column, in the order of ``faces.npy``.

    Raises:
        DataError: no such file, not text in UTF-8, a column is missing, or a row of another length.
    """
    path = folder / "faces.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            lacking = [column for column in FACE_COLUMNS if column not in names]
            if lacking:
                raise DataError(f"{path}: lacks the columns {', '.join(lacking)}")
            if twice := [name for name in names if names.count(name) > 1]:
                raise DataError(f"{path}: column {cut(twice[0])} {names.count(twice[0])} times; allowed: once")
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"{path}: line {reader.line_num}: not {len(names)} fields as in the first line")
                yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of comma-separated values in UTF-8: {error}") from error
