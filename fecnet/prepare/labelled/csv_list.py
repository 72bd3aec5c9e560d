"""Reads a CSV list of images: columns path, label or votes, and optionally split and subject."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, hash_of, read_table, split_name
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.utils.errors import DataError

_OTHER_COLUMNS = ("path", "label", "split", "subject")
_WHOLE = re.compile(r"-?\d+")


def read_csv_list(path: Path) -> LabelledSource:
    """Read images listed in a CSV file, with paths relative to its folder.

    Classes are the labels found: integers ordered by value, words by name. Common names of splits become ``train``,
    ``val`` and ``test``, others stay as they are; without the column all are in split ``all``.

    Raises:
        DataError: no such file, not a CSV file, or a column is missing.
    """
    rows = [row for _, row in read_table(path, ("path", "label"))]
    classes = _classes({row["label"] for row in rows} - {""})
    index = {name: place for place, name in enumerate(classes)}
    pictures, dropped = [], Dropped()
    for row in rows:
        split = _split(row)
        fault = _fault(row, split) or ("" if row["label"] else "no_label")
        if fault:
            dropped.add(split or "unknown", fault)
        else:
            pictures.append(_picture(path, row, index[row["label"]], split))
    return LabelledSource("label", path, classes, pictures, 112, dropped=dropped, provenance=hash_of(path))


def read_csv_votes(path: Path, classes: Sequence[str]) -> LabelledSource:
    """Read images listed in a CSV file with one column per class: the number or share of annotators who chose it.

    The label is the class with most votes, the first of ``classes`` on a tie. Paths and splits as in ``read_csv_list``.

    Args:
        path: the file.
        classes: the columns, in label order.

    Raises:
        DataError: as ``read_csv_list``; fewer than two classes, or a duplicate or reserved column name.
    """
    columns = [name.strip().lower() for name in classes]
    if len(columns) < 2 or len(set(columns)) < len(columns) or not all(columns) or {*columns} & {*_OTHER_COLUMNS}:
        reserved = ", ".join(_OTHER_COLUMNS)
        raise DataError(f"votes: {','.join(classes)!r}; allowed: two or more different columns, none of {reserved}")
    pictures, dropped = [], Dropped()
    for _, row in read_table(path, ("path", *columns)):
        split, votes = _split(row), _votes([row[name] for name in columns])
        fault = _fault(row, split) or (votes if isinstance(votes, str) else "")
        if fault or isinstance(votes, str):
            dropped.add(split or "unknown", fault)
        else:
            pictures.append(_picture(path, row, votes.index(max(votes)), split, votes))
    names = tuple(name.strip() for name in classes)
    return LabelledSource("votes", path, names, pictures, 112, dropped=dropped, provenance=hash_of(path))


def _picture(
    path: Path, row: dict[str, str], label: int, split: str, votes: tuple[float, ...] | None = None
) -> LabelledPicture:
    picture = path.parent / row["path"]
    return LabelledPicture(row["path"], picture, label, split, subject=row.get("subject", ""), votes=votes)


def _split(row: dict[str, str]) -> str:
    """The split of a row, or an empty string if it is not an identifier: it becomes a file name."""
    written = row.get("split", ALL)
    split = split_name(written) or written
    return split if split.isidentifier() else ""


def _fault(row: dict[str, str], split: str) -> str:
    """Why the row has no image, or an empty string."""
    if not split:
        return "bad_split"
    if "\0" in row["path"]:
        return "bad_path"
    return "" if row["path"] else "no_path"


def _votes(written: Sequence[str]) -> tuple[float, ...] | str:
    """The votes, or the reason why they are invalid."""
    try:
        votes = tuple(map(float, written))
    except ValueError:
        return "bad_votes"
    if not all(0 <= vote < math.inf for vote in votes):
        return "bad_votes"
    return votes if any(votes) else "no_votes"


def _classes(found: set[str]) -> tuple[str, ...]:
    if all(_WHOLE.fullmatch(label) for label in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))
