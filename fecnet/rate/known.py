"""Reads triplets with known answers from the owner of a study: controls for photos without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fecnet.prepare.text_rows import Tally, text_rows
from fecnet.utils.errors import DataError

_COLUMNS = ("a", "b", "c", "odd")


def read_known(path: str | Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a table with the columns a, b, c and odd: three faces, and the one of them with another expression.

    Args:
        path: comma-separated values with a header.
        names: names of the faces of the study.

    Returns:
        Rows of the faces in ``names``, increasing, shape (T, 3); place 0..2 of the odd one, shape (T,).

    Raises:
        DataError: another header; a face that is not in the study, or twice in a row; the odd one is none of the three;
            the same three faces in two rows.
    """
    path, row_of = Path(path), {name: row for row, name in enumerate(names)}
    known: dict[tuple[int, ...], int] = {}
    header: list[str] = []
    for line, _, fields in text_rows(path, Tally(()), progress=False):
        if not header:
            header = [field.lower() for field in fields]
            if sorted(header) != sorted(_COLUMNS):
                raise DataError(f"{path}: columns {', '.join(fields)}; expected {', '.join(_COLUMNS)}")
            continue
        if not fields:
            continue
        if len(fields) != len(header):
            raise DataError(f"{path}, line {line}: {len(fields)} fields; expected {len(header)}: {', '.join(header)}")
        cell = dict(zip(header, fields, strict=True))
        lost = [name for name in cell.values() if name not in row_of]
        if lost:
            raise DataError(f"{path}, line {line}: {lost[0]}: no face of the study; allowed: names as in its source")
        trio = tuple(sorted({row_of[cell[letter]] for letter in "abc"}))
        if len(trio) < 3 or row_of[cell["odd"]] not in trio:
            raise DataError(f"{path}, line {line}: allowed: three different faces, and as odd one of them")
        if trio in known:
            raise DataError(f"{path}, line {line}: these three faces are in an earlier line too; allowed: once")
        known[trio] = trio.index(row_of[cell["odd"]])
    if not known:
        raise DataError(f"{path}: no triplet in it")
    return np.array([*known]), np.array([*known.values()])
