"""Reads lists of triplets of local images: the input of the original code, also as a data-frame library writes it.

Every line of a file is either kept or counted as dropped, by reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from fecnet.faces.picture_lists import column_name, is_absolute, split_line
from fecnet.prepare.text_rows import Tally, check_text_file, text_rows, whole_number
from fecnet.prepare.triplet_columns import Columns, named_columns
from fecnet.prepare.triplet_rows import MAX_VOTES, NUMBERS, Annotations, TripletRows, finish_rows, triplet_type
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
    "bad_votes",  # not whole numbers of 0..255
)

_UNNAMED = (("", 0), ("", 1), ("v", 1), ("column_", 1))  # prefix and first number of names that libraries make up
_WANTED = "img1,img2,img3,label,type"


def read_lists(
    files: Mapping[str, str | Path], *, allow_absolute: bool = False, progress: bool = True
) -> dict[str, Annotations]:
    """Read lists of ``img1,img2,img3,label,type`` lines.

    The label is the odd image, 1..3, or 0..2 where the files hold a 0 and no 3. Faces are whole images (no box), by
    paths relative to a folder that the caller knows, with either kind of slash. Fields are separated by commas,
    semicolons, tabs or white space; with a header the columns may be in any order, an index comes before them, and
    ``votes_1,votes_2,votes_3`` hold the annotators who chose each image.

    Args:
        files: by split; labels are counted from the same number in all of them.
        allow_absolute: keep absolute paths.
        progress: show progress bars.

    Returns:
        ``urls`` holds the paths; there are no answers, and votes are zero where the list has none.

    Raises:
        DataError: no text file, a header without one of the columns or with one twice, labels 0 and 3, or a label
            that has not the most votes.
    """
    return finish_rows({split: _read(Path(file), allow_absolute, progress) for split, file in files.items()})


def _read(path: Path, allow_absolute: bool, progress: bool) -> TripletRows:
    rows = TripletRows(path, Tally(LIST_REASONS), votes_by_place=True)
    columns: Columns | None = None
    for line, text, fields in text_rows(path, rows.tally, progress=progress, separator=list_separator(path)):
        reason = ""
        if columns is None and any(fields):
            columns = _header(path, fields)
            reason = "header" if columns else ""
            columns = columns or _unnamed_columns(fields)
        reason = reason or _add(rows, line, fields, columns, allow_absolute)
        if reason:
            rows.tally.drop(reason, line, text)
    return rows


def _add(rows: TripletRows, line: int, fields: list[str], columns: Columns | None, allow_absolute: bool) -> str:
    """Add the row, or return the reason for dropping it."""
    pictures, label, kind_at = (columns.pictures, columns.odd, columns.kind) if columns else (None, None, None)
    if pictures is None or label is None or kind_at is None or len(fields) <= max(*pictures, label, kind_at):
        return "short_row" if any(fields) else "empty_line"
    paths = [listed_path(fields[place], allow_absolute) for place in pictures]
    for reason in ("bad_path", "absolute_path"):
        if reason in paths:
            return reason
    faces = [rows.face_at(path, None) for path in paths]
    if len(set(faces)) < 3:
        return "same_face_twice"
    kind = triplet_type(fields[kind_at])
    if kind is None:
        return "unknown_type"
    odd = whole_number(fields[label])
    if odd not in NUMBERS:
        return "bad_answer"
    votes = read_votes(fields, columns.votes) if columns and columns.votes else [0, 0, 0]
    if votes is None:
        return "bad_votes"
    rows.see(odd, line)
    rows.add(line, faces, odd, kind, [0, *votes], [], [])
    return ""


def read_votes(fields: Sequence[str], places: tuple[int, int, int]) -> list[int] | None:
    """The votes for the three faces of a row, none of them where a field is empty; None where they are no votes."""
    texts = [fields[place] if place < len(fields) else "" for place in places]
    votes = [whole_number(text) if text else 0 for text in texts]
    found = [vote for vote in votes if vote is not None and 0 <= vote <= MAX_VOTES]
    return found if len(found) == len(votes) else None


def listed_path(text: str, allow_absolute: bool) -> str:
    """A normalised path, or the reason why it is none: both are no paths of pictures."""
    windows = PureWindowsPath(text)  # splits at both kinds of slash
    if not windows.name or "://" in text or "\0" in text:
        return "bad_path"
    if is_absolute(text):
        return str(PurePosixPath(text.replace("\\", "/"))) if allow_absolute else "absolute_path"
    return "bad_path" if ".." in windows.parts else str(PurePosixPath(text.replace("\\", "/")))


def list_separator(path: Path) -> str:
    """What separates the fields of the first line with something in it."""
    check_text_file(path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    return next((mark for mark in ",;\t " if len(split_line(first, mark)) >= len(_WANTED.split(","))), ",")


def _header(path: Path, fields: Sequence[str]) -> Columns | None:
    """The columns by the names in a header; None for a row that is none.

    Raises:
        DataError: a header without one of the columns, or with one twice.
    """
    names = [column_name(field) for field in fields]
    for prefix, first in _UNNAMED:
        if names[-5:] == [f"{prefix}{first + place}" for place in range(5)]:
            return _unnamed_columns(fields, skip=len(names) - 5)
    columns = named_columns(path, fields)
    if columns and None in (columns.pictures, columns.odd, columns.kind):
        raise DataError(f"{path}: columns {', '.join(filter(None, names))[:160]}; expected {_WANTED} in any order")
    return columns


def _unnamed_columns(fields: Sequence[str], skip: int | None = None) -> Columns:
    """The columns in the order of the original code, after an index if there is one."""
    if skip is None:
        indexed = len(fields) == 6 and triplet_type(fields[5]) is not None and whole_number(fields[0]) is not None
        skip = int(indexed)
    return Columns(pictures=(skip, skip + 1, skip + 2), odd=skip + 3, kind=skip + 4)
