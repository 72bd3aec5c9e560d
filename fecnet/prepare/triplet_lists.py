"""Reads lists of triplets of local images: the input of the original code, also as a data-frame library writes it.

Every line of a file is either kept or counted as dropped, by reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from fecnet.faces.picture_lists import column_name, is_absolute, split_line
from fecnet.prepare.text_rows import Tally, check_text_file, text_rows, whole_number
from fecnet.prepare.triplet_rows import NUMBERS, TYPES, Annotations, TripletRows, finish_rows
from fecnet.utils.errors import DataError

# Reasons for dropping a line, in the order of checking.
LIST_REASONS = (
    "header",
    "empty_line",
    "short_row",
    "bad_path",  # empty, a URL, or outside of the folder through ..
    "absolute_path",  # where these are not allowed
    "same_face_twice",
    "unknown_type",
    "bad_answer",
)

_LABELS = ("label", "odd", "odd_one_out", "odd_one", "answer", "choice")
_KINDS = ("type", "triplet_type", "kind")
_NUMBERED = re.compile(r"(.*?)_?([0-3]|[abc])(_.+|)")  # img1, image_1, img1_path, face_a
_UNNAMED = (("", 0), ("", 1), ("v", 1), ("column_", 1))  # prefix and first number of names that libraries make up
_WANTED = "img1,img2,img3,label,type"


class Columns(NamedTuple):
    """Where a row holds what."""

    pictures: tuple[int, int, int]
    label: int
    kind: int


def read_lists(
    files: Mapping[str, str | Path], *, allow_absolute: bool = False, progress: bool = True
) -> dict[str, Annotations]:
    """Read lists of ``img1,img2,img3,label,type`` lines.

    The label is the odd image, 1..3, or 0..2 where the files hold a 0 and no 3. Faces are whole images (no box), by
    paths relative to a folder that the caller knows, with either kind of slash. Fields are separated by commas,
    semicolons, tabs or white space; with a header the columns may be in any order, and an index comes before them.

    Args:
        files: by split; labels are counted from the same number in all of them.
        allow_absolute: keep absolute paths.
        progress: show progress bars.

    Returns:
        ``urls`` holds the paths; there are no answers, and all votes are zero.

    Raises:
        DataError: no text file, a header without one of the columns, or labels 0 and 3.
    """
    return finish_rows({split: _read(Path(file), allow_absolute, progress) for split, file in files.items()})


def _read(path: Path, allow_absolute: bool, progress: bool) -> TripletRows:
    rows = TripletRows(path, Tally(LIST_REASONS))
    columns: Columns | None = None
    for line, text, fields in text_rows(path, rows.tally, progress=progress, separator=_separator(path)):
        reason = ""
        if columns is None and any(fields):
            columns = _named_columns(path, fields)
            reason = "header" if columns else ""
            columns = columns or _unnamed_columns(fields)
        reason = reason or _add(rows, line, fields, columns, allow_absolute)
        if reason:
            rows.tally.drop(reason, line, text)
    return rows


def _add(rows: TripletRows, line: int, fields: list[str], columns: Columns | None, allow_absolute: bool) -> str:
    """Add the row, or return the reason for dropping it."""
    if columns is None or len(fields) <= max(*columns.pictures, columns.label, columns.kind):
        return "short_row" if any(fields) else "empty_line"
    paths = [_path(fields[place], allow_absolute) for place in columns.pictures]
    for reason in ("bad_path", "absolute_path"):
        if reason in paths:
            return reason
    faces = [rows.face_at(path, None) for path in paths]
    if len(set(faces)) < 3:
        return "same_face_twice"
    kind = TYPES.get(fields[columns.kind].upper())
    if kind is None:
        return "unknown_type"
    odd = whole_number(fields[columns.label])
    if odd not in NUMBERS:
        return "bad_answer"
    rows.see(odd, line)
    rows.add(line, faces, odd, kind, [0] * len(NUMBERS), [], [])
    return ""


def _path(text: str, allow_absolute: bool) -> str:
    """A normalised path, or the reason why it is none: both are no paths of pictures."""
    windows = PureWindowsPath(text)  # splits at both kinds of slash
    if not windows.name or "://" in text or "\0" in text:
        return "bad_path"
    if is_absolute(text):
        return str(PurePosixPath(text.replace("\\", "/"))) if allow_absolute else "absolute_path"
    return "bad_path" if ".." in windows.parts else str(PurePosixPath(text.replace("\\", "/")))


def _separator(path: Path) -> str:
    """What separates the fields of the first line with something in it."""
    check_text_file(path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    return next((mark for mark in ",;\t " if len(split_line(first, mark)) >= len(_WANTED.split(","))), ",")


def _named_columns(path: Path, fields: Sequence[str]) -> Columns | None:
    """The columns by the names in a header; None for a row that is none.

    Raises:
        DataError: a header without one of the columns.
    """
    names = [column_name(field) for field in fields]
    for prefix, first in _UNNAMED:
        if names[-5:] == [f"{prefix}{first + place}" for place in range(5)]:
            return _unnamed_columns(fields, skip=len(names) - 5)
    label, kind = (next((names.index(name) for name in known if name in names), None) for known in (_LABELS, _KINDS))
    if label is None and kind is None:
        return None
    pictures = _numbered(names)
    if label is None or kind is None or pictures is None:
        raise DataError(f"{path}: columns {', '.join(filter(None, names))[:160]}; expected {_WANTED} in any order")
    return Columns(pictures, label, kind)


def _numbered(names: Sequence[str]) -> tuple[int, int, int] | None:
    """The columns of three images: one name with three numbers or letters that follow one another."""
    places: dict[tuple[str, str], dict[str, int]] = {}
    for place, name in enumerate(names):
        if found := _NUMBERED.fullmatch(name):
            places.setdefault((found[1], found[3]), {})[found[2]] = place
    trios = [of for of in places.values() if sorted(of) in (["1", "2", "3"], ["0", "1", "2"], ["a", "b", "c"])]
    if len(trios) != 1:
        return None
    one, two, three = (trios[0][number] for number in sorted(trios[0]))
    return one, two, three


def _unnamed_columns(fields: Sequence[str], skip: int | None = None) -> Columns:
    """The columns in the order of the original code, after an index if there is one."""
    if skip is None:
        indexed = len(fields) == 6 and fields[5].upper() in TYPES and whole_number(fields[0]) is not None
        skip = int(indexed)
    return Columns((skip, skip + 1, skip + 2), skip + 3, skip + 4)
