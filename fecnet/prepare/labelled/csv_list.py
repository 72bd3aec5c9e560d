"""Reads any list of pictures: a CSV file with the columns path and label, and optionally split and subject."""

from __future__ import annotations

from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, hash_of, read_table, split_name
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource


def read_csv_list(path: Path) -> LabelledSource:
    """Pictures named in a CSV file; paths are relative to its folder.

    Classes are the labels found: whole numbers by value, words by name. Common words for a split become ``train``,
    ``val`` and ``test``, others stay as they are; without the column all are of the split ``all``.

    Raises:
        ValueError: no such file, not a CSV file, or a column is missing.
    """
    rows = [row for _, row in read_table(path, ("path", "label"))]
    classes = _classes({row["label"] for row in rows} - {""})
    index = {name: place for place, name in enumerate(classes)}
    pictures, dropped = [], Dropped()
    for row in rows:
        written = row.get("split", ALL)
        split = split_name(written) or written
        if fault := _fault(row, split):
            dropped.add(split if split.isidentifier() else "unknown", fault)
            continue
        pictures.append(
            LabelledPicture(
                row["path"], path.parent / row["path"], index[row["label"]], split, subject=row.get("subject", "")
            )
        )
    return LabelledSource("label", path, classes, pictures, 112, dropped=dropped, provenance=hash_of(path))


def _fault(row: dict[str, str], split: str) -> str | None:
    """Why the row names no labelled picture. A split becomes a file name, so it must be a plain word."""
    if not split.isidentifier():
        return "bad_split"
    return "no_path" if not row["path"] else "no_label" if not row["label"] else None


def _classes(found: set[str]) -> tuple[str, ...]:
    if all(label.lstrip("-").isdecimal() for label in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))
