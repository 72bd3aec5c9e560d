"""Finds the columns of a table of triplets by the names in its header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fecnet.faces.picture_lists import column_name
from fecnet.prepare.labelled.list_columns import USUAL, seen_columns
from fecnet.utils.errors import DataError

Trio = tuple[int, int, int]

_ODD = ("odd", "odd_one_out", "odd_one", "label", "answer", "choice")
_KINDS = ("type", "triplet_type", "kind")
_RATERS = tuple(
    f"{word}{end}"
    for word in ("rater", "annotator", "worker", "participant", "observer", "judge")
    for end in ("", "_id")
)
_VOTES = ("votes", "vote")
_SUBJECTS = ("subject", *USUAL["subject"])
_NUMBERED = re.compile(r"(.*?)_?([0-3]|[abc])(_.+|)")  # img1, image_1, img1_path, face_a, a


class Columns(NamedTuple):
    """Indices of the columns; None for missing columns."""

    pictures: Trio | None
    odd: int | None
    kind: int | None = None
    votes: Trio | None = None
    rater: int | None = None
    subjects: Trio | None = None
    places: tuple[str, ...] = ()  # names of the three columns of pictures


def named_columns(path: Path, fields: Sequence[str]) -> Columns | None:
    """The columns by the names of a header, in any order; other columns are ignored. None for a row that is no header.

    Three columns with one name and 1..3, 0..2 or a..c (``img1``, ``face_a``, or only ``a``) are the pictures; such
    columns named ``votes`` and ``subject`` are the votes and the persons.

    Raises:
        DataError: a name occurs twice, or several triples of columns may be the pictures.
    """
    names = [column_name(field) for field in fields]
    trios = _trios(names)
    odd, kind, rater = (_first(names, known) for known in (_ODD, _KINDS, _RATERS))
    votes, subjects = _take(trios, _VOTES), _take(trios, _SUBJECTS)
    if odd is None and kind is None and rater is None and votes is None:
        return None
    twice = [name for name, times in Counter(filter(None, names)).items() if times > 1]
    if twice:
        raise DataError(f"{path}: column {twice[0]} occurs twice; seen: {seen_columns(names)}; allowed: once")
    if len(trios) > 1:
        shown = " or ".join(", ".join(names[place] for place in trio) for trio in trios.values())
        raise DataError(f"{path}: columns {shown} may be the pictures; allowed: three of one name")
    pictures = next(iter(trios.values()), None)
    places = tuple(names[place] for place in pictures or ())
    return Columns(pictures, odd, kind, votes, rater, subjects, places)


def _first(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _trios(names: Sequence[str]) -> dict[str, Trio]:
    """Triples of columns that differ by consecutive numbers or letters, by the name that they share."""
    places: dict[tuple[str, str], dict[str, int]] = {}
    for place, name in enumerate(names):
        if found := _NUMBERED.fullmatch(name):
            places.setdefault((found[1], found[3]), {})[found[2]] = place
    trios = {}
    for (before, after), place_of in places.items():
        if sorted(place_of) in (["1", "2", "3"], ["0", "1", "2"], ["a", "b", "c"]):
            one, two, three = (place_of[number] for number in sorted(place_of))
            trios[before + after] = (one, two, three)
    return trios


def _take(trios: dict[str, Trio], known: Sequence[str]) -> Trio | None:
    """Remove the triple with one of these names and return it."""
    return next((trios.pop(name) for name in known if name in trios), None)
