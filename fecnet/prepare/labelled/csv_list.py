"""Reads a CSV list of images: columns path, label or votes, and optionally split, subject and a box."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fecnet.faces.picture_lists import is_absolute, system_path, tidy_path
from fecnet.prepare.labelled.class_labels import free_classes, is_missing
from fecnet.prepare.labelled.label_files import Dropped, hash_of, read_header, read_table
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.list_columns import USUAL, box_columns, find_column, need_column
from fecnet.prepare.labelled.split_words import split_name
from fecnet.utils.class_words import class_word
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

_OTHER_COLUMNS = ("path", "label", "split", "subject")


class _Row(NamedTuple):
    """The fields of a row, under the documented names; empty where missing, None for an invalid box."""

    path: str
    label: str
    split: str
    subject: str
    votes: tuple[str, ...]
    box: tuple[float, ...] | None


def read_csv_list(
    path: Path, path_column: str | None = None, label_column: str | None = None, *, allow_absolute: bool = False
) -> LabelledSource:
    """Read images listed in a CSV file, with paths relative to its folder.

    Columns with other usual names (``image``, ``emotion``, …) are read too, which is logged. Further columns, such as
    the unnamed index of a data frame, are ignored. Classes are the labels found, see ``free_classes``. Common names of
    splits become ``train``, ``val`` and ``test``, others are kept; without a column of splits all images are in
    ``all``. Boxes are in pixels of the image with its EXIF orientation applied; a row may have none.

    Args:
        path: the file.
        path_column: name of the column with the paths.
        label_column: name of the column with the labels.
        allow_absolute: also take images by absolute paths, from anywhere.

    Raises:
        DataError: no such file, not a CSV file, a column is missing or not unique, a column of splits has other
            values, labels are both numbers and words, boxes are not in pixels, or an absolute path is not allowed.
    """
    header = read_header(path)
    name = need_column(path, header, "path", path_column)
    rows = _rows(path, header, name, allow_absolute, label=need_column(path, header, "label", label_column))
    classes, index = free_classes({row.label for row in rows if row.label}, str(path))
    pictures, dropped, folder = [], Dropped(), path.parent
    for row in rows:
        fault = _fault(row) or ("" if row.label else "no_label")
        if fault:
            dropped.add(row.split or "unknown", fault)
        else:
            pictures.append(_picture(folder, row, index[row.label]))
    return LabelledSource("label", path, classes, pictures, 112, dropped=dropped, provenance=hash_of(path))


def read_csv_votes(
    path: Path, classes: Sequence[str], path_column: str | None = None, *, allow_absolute: bool = False
) -> LabelledSource:
    """Read images listed in a CSV file with one column per class: the number or share of annotators who chose it.

    The label is the class with most votes, the first of ``classes`` on a tie. Paths and splits as in ``read_csv_list``.

    Args:
        path: the file.
        classes: the columns, in label order.
        path_column: name of the column with the paths.
        allow_absolute: see ``read_csv_list``.

    Raises:
        DataError: see ``read_csv_list``; fewer than two classes, two names of one class, or a reserved column name.
    """
    columns = [name.strip().lower() for name in classes]
    if (
        len(columns) < 2
        or len({*map(class_word, columns)}) < len(columns)
        or not all(columns)
        or {*columns} & {*_OTHER_COLUMNS}
    ):
        reserved = ", ".join(_OTHER_COLUMNS)
        raise DataError(
            f"votes: {shown(','.join(classes))}; allowed: two or more different classes, none of {reserved}"
        )
    pictures, dropped, folder = [], Dropped(), path.parent
    header = read_header(path)
    for row in _rows(path, header, need_column(path, header, "path", path_column), allow_absolute, votes=columns):
        votes = _votes(row.votes)
        fault = _fault(row) or (votes if isinstance(votes, str) else "")
        if fault or isinstance(votes, str):
            dropped.add(row.split or "unknown", fault)
        else:
            pictures.append(_picture(folder, row, votes.index(max(votes)), votes))
    names = tuple(name.strip() for name in classes)
    return LabelledSource("votes", path, names, pictures, 112, dropped=dropped, provenance=hash_of(path))


def _rows(
    path: Path, header: Sequence[str], name: str, allow_absolute: bool, *, label: str = "", votes: Sequence[str] = ()
) -> list[_Row]:
    split, subject = _split_column(path, header), find_column(path, header, "subject")
    edges = box_columns(path, header)
    needed = [column for column in (name, label, split, subject, *votes, *edges) if column]
    rows: list[_Row] = []
    told = False
    for line, row in read_table(path, needed):
        picture = _present(row[name])
        if is_absolute(picture) and not allow_absolute:
            raise DataError(
                f"{path}: line {line}: an absolute path: {picture}; allowed: paths below {path.parent}, or "
                "--allow-absolute"
            )
        rows.append(
            _Row(
                picture,
                _present(row[label]) if label else "",
                _split(_present(row[split])) if split else ALL,
                _present(row[subject]) if subject else "",
                tuple(row[column] for column in votes),
                _box([row[edge] for edge in edges]),
            )
        )
        if split and not rows[-1].split and not told and (written := _present(row[split])):
            logger.info("%s: line %d: split '%s' is not read; allowed: letters, digits and _", path, line, written)
            told = True
    boxes = [row.box for row in rows if row.box]
    if boxes and max(map(max, boxes)) <= 1:
        raise DataError(f"{path}: boxes within 0 to 1 in {', '.join(edges)}; allowed: pixels of the picture")
    return rows


def _present(text: str) -> str:
    """A field without surrounding quotes; empty where the value is missing."""
    text = tidy_path(text)
    return "" if is_missing(text) else text


def _split_column(path: Path, header: Sequence[str]) -> str | None:
    """The column of the splits; a column with another name than ``split`` must contain only names of splits.

    Raises:
        DataError: a column that contains both names of splits and other values.
    """
    if "split" in header:
        return "split"
    columns = [name for name in USUAL["split"] if name in header]
    other: dict[str, str] = {}
    known: dict[str, str] = {}
    for _, row in read_table(path, columns) if columns else ():
        for name in columns:
            if value := _present(row[name]):
                (other if split_name(value) is None else known).setdefault(name, value)
    for name, value in other.items():
        if name in known:
            raise DataError(
                f"{path}: column {name} holds '{known[name]}' and '{value}'; allowed: only names of splits; rename it "
                "to split to allow any"
            )
        logger.info("%s: column '%s' is not read as the split, since it contains '%s'", path, name, value)
    return find_column(path, [name for name in header if name not in other], "split")


def _picture(folder: Path, row: _Row, label: int, votes: tuple[float, ...] | None = None) -> LabelledPicture:
    name = system_path(folder, row.path)
    if "./" in name or "//" in name or name.endswith(("/", "/.")):
        name = str(PurePosixPath(name))  # ./a.jpg is a.jpg
    return LabelledPicture(name, folder / name, label, row.split, subject=row.subject, box=row.box or (), votes=votes)


def _split(written: str) -> str:
    """The split of a row, or an empty string if it is not an identifier: it becomes a file name."""
    split = split_name(written) or written
    return split if split.isidentifier() else ""


def _fault(row: _Row) -> str:
    """Why the row has no image, or an empty string."""
    if not row.split:
        return "bad_split"
    if "\0" in row.path or "://" in row.path:
        return "bad_path"
    if row.box is None:
        return "bad_box"
    return "" if row.path else "no_path"


def _box(written: Sequence[str]) -> tuple[float, ...] | None:
    """Left, top, right, bottom; empty where the row has none, None where they are invalid."""
    if not any(written) or all(map(is_missing, written)):
        return ()
    try:
        box = tuple(map(float, written))
    except ValueError:
        return None
    sound = all(abs(edge) < 1e6 for edge in box) and box[0] < box[2] and box[1] < box[3]
    return box if sound else None


def _votes(written: Sequence[str]) -> tuple[float, ...] | str:
    """The votes, or the reason why they are invalid."""
    try:
        votes = tuple(map(float, written))
    except ValueError:
        return "bad_votes"
    if not all(0 <= vote < math.inf for vote in votes):
        return "bad_votes"
    return votes if any(votes) else "no_votes"
