"""Reads a table of answers to triplets row by row; what is wrong in a row refuses the file, by line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from fecnet.faces.picture_lists import column_name
from fecnet.prepare.label_base import label_base
from fecnet.prepare.labelled.list_columns import find_column, seen_columns
from fecnet.prepare.labelled.split_words import split_name
from fecnet.prepare.text_rows import Tally, text_rows, whole_number
from fecnet.prepare.triplet_columns import Columns, named_columns
from fecnet.prepare.triplet_lists import list_separator, listed_path, read_votes
from fecnet.prepare.triplet_rows import MAX_VOTES, NUMBERS, TYPE_WORDS, triplet_type
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

LAYOUTS = "a,b,c,odd,rater, or a,b,c,votes_a,votes_b,votes_c"
_TRAIN = "train"  # split of all rows where there is no column of splits
_LETTERS = "abc"


class AnswerRow(NamedTuple):
    """One row of a table of answers.

    Faces are given by name; ``odd`` is 0..2, or None for no answer; ``votes`` are those of the three faces, where the
    table has them.
    """

    line: int
    faces: tuple[str, str, str]
    odd: int | None
    rater: str
    votes: list[int] | None
    kind: int
    split: str
    subjects: tuple[str, ...]
    text: str


class AnswerTable:
    """The rows of a file.

    Args:
        path: the file.
        allow_absolute: keep absolute paths.
        progress: show a progress bar.

    Attributes:
        columns: where a row holds what.

    Raises:
        DataError: no header, or a column lacks or occurs twice.
    """

    def __init__(self, path: Path, allow_absolute: bool, progress: bool) -> None:
        self._path, self._allow_absolute, self._progress = path, allow_absolute, progress
        self._paths: dict[str, str] = {}  # caches of what occurs in many rows
        self._named: dict[tuple[str, int], Set[int]] = {}
        self._separator = list_separator(path)
        header = next((fields for _, _, fields in self._lines(progress=False)), [])
        names = [column_name(name) for name in header]
        columns = named_columns(path, header)
        self.columns = self._check(columns, names)
        split = find_column(path, names, "split")
        self._split = None if split is None else names.index(split)
        if self.columns.kind is None:
            logger.info("%s: no column type: all triplets are taken as two-class", path)
        if self._split is None:
            logger.info("%s: no column split: all triplets are in '%s'", path, _TRAIN)

    def _check(self, columns: Columns | None, names: Sequence[str]) -> Columns:
        lacking = []
        if columns is None or columns.pictures is None:
            lacking.append("a, b, c")
        if columns is None or columns.votes is None:
            lacking += [] if columns and columns.odd is not None else ["odd"]
            lacking += [] if columns and columns.rater is not None else ["rater"]
        if columns is None or lacking:
            raise DataError(
                f"{self._path}: no column {', '.join(lacking)}; seen: {seen_columns(names)}; allowed: {LAYOUTS}"
            )
        if columns.votes and columns.rater is not None:
            raise DataError(f"{self._path}: columns of a rater and of votes; allowed: {LAYOUTS}")
        return columns

    def label_base(self) -> int:
        """The number of the first face where faces are given by number.

        Raises:
            DataError: both 0 and 3 are seen.
        """
        if self.columns.odd is None:
            return 1
        seen: dict[int, int] = {}
        for line, _, fields in self._data():
            text = _field(fields, self.columns.odd)
            number = whole_number(text)
            if number in NUMBERS and text not in self._texts(fields):
                seen.setdefault(number, line)
        name = str(self._path)
        if {NUMBERS[0], NUMBERS[-1]} <= seen.keys():
            name += f": line {seen[NUMBERS[0]]} and line {seen[NUMBERS[-1]]}"
        return label_base(seen.keys(), NUMBERS[-1], name)

    def rows(self, base: int) -> Iterator[AnswerRow]:
        """The rows that hold something, in which faces count from ``base``.

        Raises:
            DataError: a row that cannot be.
        """
        for line, text, fields in self._data(progress=self._progress):
            try:
                yield self._row(line, text, fields, base)
            except RowFault as fault:
                raise DataError(f"{self._path}: line {line}: {fault}") from None

    def _row(self, line: int, text: str, fields: list[str], base: int) -> AnswerRow:
        columns, written = self.columns, self._texts(fields)
        first, second, third = faces = (self._face(written[0]), self._face(written[1]), self._face(written[2]))
        if first in (second, third) or second == third:
            raise RowFault(f"faces {', '.join(faces)}; allowed: three different ones")
        odd = self._odd(fields, written, faces, base)
        votes = None
        if columns.votes:
            votes = read_votes(fields, columns.votes)
            if votes is None:
                seen = ", ".join(_field(fields, place) for place in columns.votes)
                raise RowFault(f"votes {seen}; allowed: whole numbers of 0..{MAX_VOTES}")
        rater = "" if columns.rater is None else _field(fields, columns.rater)
        if columns.rater is not None and not rater:
            raise RowFault("no rater; allowed: a name or a number for each")
        subjects = tuple(_field(fields, place) for place in columns.subjects or ())
        return AnswerRow(line, faces, odd, rater, votes, self._kind(fields), self._split_of(fields), subjects, text)

    def _face(self, written: str) -> str:
        path = self._path_of(written)
        if path == "absolute_path":
            raise RowFault(f"face {written!r} is an absolute path; allowed: paths below PICTURES, or --allow-absolute")
        if path == "bad_path":
            raise RowFault(f"face {written!r}; allowed: the path of a photo below PICTURES")
        return path

    def _path_of(self, written: str) -> str:
        """``listed_path``, of a name that occurs in many rows."""
        if written not in self._paths:
            self._paths[written] = listed_path(written, self._allow_absolute)
        return self._paths[written]

    def _odd(self, fields: list[str], written: Sequence[str], faces: Sequence[str], base: int) -> int | None:
        """The odd face, 0..2: by its name, its column, or its number; None where the field is empty."""
        text = "" if self.columns.odd is None else _field(fields, self.columns.odd)
        if not text:
            return None
        path, found = self._path_of(text), self._places(text, base)
        found = found | {place for place in range(3) if text == written[place] or path == faces[place]}
        if not found:
            by_number = f"{base}..{base + 2}"
            raise RowFault(f"odd {text!r} is none of {', '.join(faces)}; allowed: one of them, a, b, c or {by_number}")
        if len(found) > 1:
            raise RowFault(f"odd {text!r} may be {' or '.join(faces[place] for place in sorted(found))}; allowed: one")
        return next(iter(found))

    def _places(self, text: str, base: int) -> Set[int]:
        """The faces that a text names by their column or number."""
        if (text, base) not in self._named:
            name, number = column_name(text), whole_number(text)
            column = {place for place in range(3) if name in (self.columns.places[place], _LETTERS[place])}
            self._named[text, base] = column | (set() if number is None else {number - base} & {0, 1, 2})
        return self._named[text, base]

    def _kind(self, fields: list[str]) -> int:
        if self.columns.kind is None:
            return int(TripletType.TWO_CLASS)
        text = _field(fields, self.columns.kind)
        kind = triplet_type(text)
        if kind is None:
            raise RowFault(f"type {text!r}; allowed: {TYPE_WORDS}")
        return kind

    def _split_of(self, fields: list[str]) -> str:
        if self._split is None:
            return _TRAIN
        text = _field(fields, self._split)
        split = split_name(text) or text
        if not split.isidentifier():
            raise RowFault(f"split {text!r}; allowed: a word such as train, val, test")
        return split

    def _texts(self, fields: list[str]) -> list[str]:
        """The faces as they are written."""
        return [_field(fields, place) for place in self.columns.pictures or ()]

    def _data(self, *, progress: bool = False) -> Iterator[tuple[int, str, list[str]]]:
        """All lines with something in them, except the header."""
        lines = self._lines(progress=progress)
        next(lines, None)
        return lines

    def _lines(self, *, progress: bool) -> Iterator[tuple[int, str, list[str]]]:
        lines = text_rows(self._path, Tally(()), progress=progress, separator=self._separator)
        return (line for line in lines if any(line[2]))


class RowFault(ValueError):
    """What is wrong in a row."""


def _field(fields: Sequence[str], place: int) -> str:
    return fields[place] if place < len(fields) else ""
