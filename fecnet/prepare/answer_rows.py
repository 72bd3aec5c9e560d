"""Reads a table of answers to triplets row by row; an invalid row is an error that names its line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from fecnet.faces.picture_lists import column_name
from fecnet.prepare.label_base import label_base
from fecnet.prepare.labelled.class_labels import is_missing
from fecnet.prepare.labelled.list_columns import find_column, seen_columns
from fecnet.prepare.labelled.split_words import split_name
from fecnet.prepare.text_rows import Tally, text_rows, whole_number
from fecnet.prepare.triplet_columns import Columns, named_columns
from fecnet.prepare.triplet_lists import list_separator, listed_path, read_votes
from fecnet.prepare.triplet_rows import MAX_VOTES, NUMBERS, TYPE_WORDS, triplet_type
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError
from fecnet.utils.shown import cut, shown

logger = logging.getLogger(__name__)

LAYOUTS = "a,b,c,odd,rater, or a,b,c,votes_a,votes_b,votes_c"
_TRAIN = "train"  # split of all rows where there is no column of splits
_LETTERS = "abc"
_MOST_KNOWN = 1 << 15  # size of the cache of ``Shown``, about 20 MB


@dataclass(eq=False, slots=True)
class Shown:
    """The triplet that a rater was shown; one object is shared by many rows where the cache has it.

    Attributes:
        faces: names of the faces.
        kind: ``TripletType``.
        split: name of the split.
        subjects: the persons of the faces; empty where the table has none.
        triplet: set by the reader of the rows.
    """

    faces: tuple[str, str, str]
    kind: int
    split: str
    subjects: tuple[str, ...]
    triplet: Any = None


class AnswerRow(NamedTuple):
    """One row of a table of answers.

    ``odd`` is 0..2, or None for no answer; ``votes`` are the votes for the three faces, where the table has them.
    """

    line: int
    shown: Shown
    odd: int | None
    rater: str
    votes: list[int] | None
    text: str


class AnswerTable:
    """The rows of a file.

    Args:
        path: the file.
        allow_absolute: keep absolute paths.
        progress: show a progress bar.

    Attributes:
        columns: indices of the columns.

    Raises:
        DataError: no header, or a column is missing or occurs twice.
    """

    def __init__(self, path: Path, allow_absolute: bool, progress: bool) -> None:
        self._path, self._progress = path, progress
        self._separator = list_separator(path)
        header = next((fields for _, _, fields in self._lines(progress=False) if fields), [])
        names = [column_name(name) for name in header]
        columns = named_columns(path, header)
        self.columns = self._check(columns, names)
        split = find_column(path, names, "split")
        self._split = None if split is None else names.index(split)
        self._width = len(names)
        assert self.columns.pictures is not None
        self._texts = itemgetter(*self.columns.pictures)  # the faces as they are written
        places = [*self.columns.pictures, *(self.columns.subjects or ()), self.columns.kind, self._split]
        self._key = itemgetter(*[place for place in places if place is not None])
        self._known: dict[tuple[str, ...], Shown] = {}
        # parsed once for each text, since the same fields are in many rows
        self._path_of = cache(partial(listed_path, allow_absolute=allow_absolute))
        self._face_of, self._place_of, self._number_of = (
            cache(self._face),
            cache(self._named_place),
            cache(whole_number),
        )
        self._kind_of, self._split_of, self._subject_of = cache(_kind), cache(_split), cache(_subject)
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

    @cached_property
    def base(self) -> int:
        """The number of the first face, 0 or 1, where faces are given by number; reads the table once more.

        Raises:
            DataError: both 0 and 3 occur.
        """
        assert self.columns.odd is not None
        seen: dict[int, int] = {}
        for line, _, fields in self._data():
            text = fields[self.columns.odd]
            number = self._number_of(text)
            if number in NUMBERS and number not in seen and text not in self._texts(fields):
                seen[number] = line
        name = str(self._path)
        if {NUMBERS[0], NUMBERS[-1]} <= seen.keys():
            name += f": line {seen[NUMBERS[0]]} and line {seen[NUMBERS[-1]]}"
        return label_base(seen.keys(), NUMBERS[-1], name)

    def rows(self) -> Iterator[AnswerRow]:
        """The rows that are not empty.

        Raises:
            DataError: an invalid row.
        """
        for line, text, fields in self._data(progress=self._progress):
            try:
                yield self._row(line, text, fields)
            except RowFault as fault:
                raise DataError(f"{self._path}: line {line}: {cut(str(fault), 400)}") from None

    def _row(self, line: int, text: str, fields: list[str]) -> AnswerRow:
        columns = self.columns
        shown = self._known.get(key := self._key(fields)) or self._show(key, fields)
        odd = None if columns.odd is None else self._odd(fields[columns.odd], shown.faces)
        votes = None
        if columns.votes:
            votes = read_votes(fields, columns.votes)
            if votes is None:
                seen = ", ".join(fields[place] for place in columns.votes)
                raise RowFault(f"votes {seen}; allowed: whole numbers of 0..{MAX_VOTES}")
        rater = "" if columns.rater is None else fields[columns.rater]
        if columns.rater is not None and not rater:
            raise RowFault("no rater; allowed: a name or a number for each")
        return AnswerRow(line, shown, odd, rater, votes, text)

    def _show(self, key: tuple[str, ...], fields: list[str]) -> Shown:
        one, two, three = map(self._face_of, self._texts(fields))
        faces = one, two, three
        if one in (two, three) or two == three:
            raise RowFault(f"faces {', '.join(faces)}; allowed: three different ones")
        kind = int(TripletType.TWO_CLASS) if self.columns.kind is None else self._kind_of(fields[self.columns.kind])
        split = _TRAIN if self._split is None else self._split_of(fields[self._split])
        subjects = tuple([self._subject_of(fields[place]) for place in self.columns.subjects or ()])
        if len(self._known) == _MOST_KNOWN:
            self._known.clear()
        shown = self._known[key] = Shown(faces, kind, split, subjects)
        return shown

    def _face(self, written: str) -> str:
        path = self._path_of(written)
        if path == "absolute_path":
            raise RowFault(
                f"face {shown(written)} is an absolute path; allowed: paths below PICTURES, or --allow-absolute"
            )
        if path == "bad_path":
            raise RowFault(f"face {shown(written)}; allowed: the path of a photo below PICTURES")
        return path

    def _odd(self, text: str, faces: tuple[str, str, str]) -> int | None:
        """The odd face, 0..2: by its name, its column, or its number; None where the field is empty."""
        if not text:
            return None
        path, column, number = self._path_of(text), self._place_of(text), self._number_of(text)
        if column is None and number is None and path in faces:
            return faces.index(path)
        found = {faces.index(path)} if path in faces else set()
        if column is not None:
            found.add(column)
        if number in NUMBERS and 0 <= number - self.base <= 2:
            found.add(number - self.base)
        if not found:
            by_number = f"{self.base}..{self.base + 2}"
            raise RowFault(
                f"odd {shown(text)} is none of {', '.join(faces)}; allowed: one of them, a, b, c or {by_number}"
            )
        if len(found) > 1:
            raise RowFault(
                f"odd {shown(text)} may be {' or '.join(faces[place] for place in sorted(found))}; allowed: one"
            )
        return found.pop()

    def _named_place(self, text: str) -> int | None:
        """The index, 0..2, of the picture column with this name, or None."""
        name = column_name(text)
        return next((place for place in range(3) if name in (self.columns.places[place], _LETTERS[place])), None)

    def _data(self, *, progress: bool = False) -> Iterator[tuple[int, str, list[str]]]:
        """All lines that are not empty, except the header; each has a field for every column."""
        header = True
        for line, text, fields in self._lines(progress=progress):
            if not fields:
                continue
            if not header:
                if len(fields) < self._width:
                    fields += [""] * (self._width - len(fields))
                yield line, text, fields
            header = False

    def _lines(self, *, progress: bool) -> Iterator[tuple[int, str, list[str]]]:
        return text_rows(self._path, Tally(()), progress=progress, separator=self._separator)


class RowFault(ValueError):
    """An invalid row; the message says why."""


def _kind(text: str) -> int:
    kind = triplet_type(text)
    if kind is None:
        raise RowFault(f"type {shown(text)}; allowed: {TYPE_WORDS}")
    return kind


def _split(text: str) -> str:
    split = split_name(text) or text
    if not split.isidentifier():  # it becomes a file name
        raise RowFault(f"split {shown(text)}; allowed: a word such as train, val, test")
    return split


def _subject(text: str) -> str:
    return "" if is_missing(text) else text
