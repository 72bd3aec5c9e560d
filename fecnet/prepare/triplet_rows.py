"""Annotated triplets as arrays, and the buffer in which a reader collects them row by row.

Shape suffixes: F faces, T triplets; edges of a box are left, right, top, bottom.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.prepare.label_base import label_base
from fecnet.prepare.text_rows import Tally
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

TYPES = {f"{kind.name}_TRIPLET": int(kind) for kind in TripletType}
TYPE_WORDS = f"{', '.join(TYPES)}, or one, two, three"
_TYPE_FORMS = {
    name.lower().removesuffix(end): kind for name, kind in TYPES.items() for end in ("", "_triplet", "_class_triplet")
}
MAX_VOTES = np.iinfo(np.uint8).max  # most votes for one face
NUMBERS = (0, 1, 2, 3)  # numbers of the faces of a triplet in files: 1..3, or 0..2 in copies; in arrays 0..2
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also accepts 1_0 and nan
_NO_BOX = (float("nan"),) * 4

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotations:
    """The triplets kept, in file order; photos, faces and annotators in order of first appearance.

    Attributes:
        urls: the distinct photos: URLs, or paths relative to a folder.
        face_photo_F: index into ``urls``, int32, shape (F,).
        face_box_F4: left, right, top and bottom as fractions of width and height, rounded to 6 decimals, float64,
            shape (F, 4); NaN for the whole image. A face is a photo and a box.
        faces_T3: index into the faces, int32, shape (T, 3).
        odd_T: index 0..2 of the odd face by majority, int8, shape (T,).
        type_T: ``TripletType``, int8, shape (T,).
        votes_T3: number of annotators who chose face k, uint8, shape (T, 3); zeros where only the result is known.
        answer_offset: the answers to triplet t are ``answer[answer_offset[t]:answer_offset[t + 1]]``, int64, shape
            (T + 1,).
        annotator: index of the annotator of each answer, from 0, int32, shape (answers,).
        answer: the face 0..2 that this annotator chose, int8, shape (answers,).
        line_T: line number in the file, from 1, int32, shape (T,).
        coverage: ``read`` lines, ``kept``, ``dropped`` by reason, ``flagged``, and the ``first`` line of each reason.
        subjects: the person of each photo by the photo's name in ``urls``; unknown persons are missing.
    """

    urls: list[str]
    face_photo_F: np.ndarray
    face_box_F4: np.ndarray
    faces_T3: np.ndarray
    odd_T: np.ndarray
    type_T: np.ndarray
    votes_T3: np.ndarray
    answer_offset: np.ndarray
    annotator: np.ndarray
    answer: np.ndarray
    line_T: np.ndarray
    coverage: dict[str, Any]
    subjects: Mapping[str, str] = field(default_factory=dict)


def triplet_type(text: str) -> int | None:
    """``TripletType`` of a word such as ``ONE_CLASS_TRIPLET``, ``one_class`` or ``One``; None for other words."""
    return _TYPE_FORMS.get(re.sub(r"[\s-]+", "_", text.strip()).lower())


def parse_box(edges: Sequence[str]) -> Box | None:
    """The box rounded to 6 decimals, or None if invalid."""
    if not all(_NUMBER.fullmatch(edge) for edge in edges):
        return None
    left, right, top, bottom = (round(float(edge), 6) + 0.0 for edge in edges)  # + 0.0: no negative zero
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        return None
    return left, right, top, bottom


class TripletRows:
    """Rows kept so far, in compact arrays: a list of ints would take eight times the memory.

    Faces keep the numbers of the file (``NUMBERS``) until it is known whether these start at 0 or at 1.

    Args:
        path: path of the file, for messages.
        tally: counts the lines.
        annotators: index by name, where several splits share them.
        votes_by_place: votes are listed for the first, second and third face, not by the number of the face.

    Attributes:
        tally: the argument.
        seen: the numbers seen, with the first line of each.
    """

    def __init__(
        self,
        path: Path,
        tally: Tally,
        *,
        annotators: dict[str, int] | None = None,
        votes_by_place: bool = False,
    ) -> None:
        self.path, self.tally = path, tally
        self._votes_by_place = votes_by_place
        self.seen: dict[int, int] = {}
        self._photos: dict[str, int] = {}
        self._faces: dict[tuple[int, Box | None], int] = {}
        self._spellings: dict[tuple[str, ...], int] = {}  # cache of parsed faces: most occur many times
        self._annotators = {} if annotators is None else annotators
        self._line, self._face = array("i"), array("i")
        self._odd, self._type, self._votes = array("b"), array("b"), array("B")
        self._offset, self._annotator, self._answer = array("q", [0]), array("i"), array("b")

    def face_of(self, fields: tuple[str, ...]) -> int | None:
        """Index of the face with this URL and these edges, or None if invalid."""
        face = self._spellings.get(fields)
        if face is None:
            box = parse_box(fields[1:])
            if box is None or not fields[0]:
                return None
            face = self._spellings[fields] = self.face_at(fields[0], box)
        return face

    def face_at(self, photo: str, box: Box | None) -> int:
        """Index of this face, added if new; None as box means the whole image."""
        place = self._photos.setdefault(photo, len(self._photos)), box
        return self._faces.setdefault(place, len(self._faces))

    def see(self, number: int, line: int) -> None:
        """Note that a face has this number, in a row kept or dropped."""
        self.seen.setdefault(number, line)

    def add(
        self,
        line: int,
        faces: list[int],
        odd: int,
        kind: int,
        votes: list[int],
        annotators: list[str],
        answers: list[int],
    ) -> None:
        """Append a triplet; ``votes`` are for each of ``NUMBERS``, or with ``votes_by_place`` for the three faces."""
        known = self._annotators
        self._line.append(line)
        self._face.extend(faces)
        self._odd.append(odd)
        self._type.append(kind)
        self._votes.extend(votes)
        self._annotator.extend([known.setdefault(annotator, len(known)) for annotator in annotators])
        self._answer.extend(answers)
        self._offset.append(len(self._answer))

    def finish(self, base: int, subjects: Mapping[str, str] | None = None) -> Annotations:
        """The arrays, from a file that counts from ``base``; faces and photos only in dropped rows are omitted.

        Raises:
            DataError: an odd face that does not have the most votes.
        """
        number_T3 = np.asarray(self._face, np.int32).reshape(-1, 3)
        number_F, faces = _in_order(number_T3.reshape(-1))
        places = list(self._faces)
        photo_F = np.array([places[number][0] for number in number_F.tolist()], np.int32)
        kept_P, face_photo = _in_order(photo_F)
        names = list(self._photos)
        votes_T4 = np.asarray(self._votes, np.uint8).reshape(-1, len(NUMBERS))
        first = 1 if self._votes_by_place else base
        votes_T3 = np.ascontiguousarray(votes_T4[:, first : first + 3])
        odd_T = np.asarray(self._odd, np.int8) - np.int8(base)
        self._check_votes(votes_T3, odd_T, base)
        return Annotations(
            urls=[names[number] for number in kept_P.tolist()],
            face_photo_F=face_photo,
            face_box_F4=np.array([places[n][1] or _NO_BOX for n in number_F.tolist()], np.float64).reshape(-1, 4),
            faces_T3=faces.reshape(-1, 3),
            odd_T=odd_T,
            type_T=np.asarray(self._type, np.int8),
            votes_T3=votes_T3,
            answer_offset=np.asarray(self._offset, np.int64),
            annotator=np.asarray(self._annotator, np.int32),
            answer=np.asarray(self._answer, np.int8) - np.int8(base),
            line_T=np.asarray(self._line, np.int32),
            coverage=self.tally.coverage(),
            subjects=subjects or {},
        )

    def _check_votes(self, votes_T3: np.ndarray, odd_T: np.ndarray, base: int) -> None:
        fewer_T = np.take_along_axis(votes_T3, odd_T[:, None].astype(np.int64), axis=1)[:, 0] < votes_T3.max(axis=1)
        if fewer_T.any():
            bad = int(fewer_T.argmax())
            odd, votes = odd_T[bad] + base, ", ".join(map(str, votes_T3[bad].tolist()))
            raise DataError(
                f"{self.path}: line {self._line[bad]}: face {odd} is the odd one, but the votes are {votes}; allowed: "
                "a face with the most votes"
            )


def check_usable(files: Mapping[str, Path], tables: Mapping[str, Annotations]) -> None:
    """Check that each file, by split, has a usable row.

    Raises:
        DataError: a file has none; the message names its first bad row.
    """
    for split, path in files.items():
        coverage = tables[split].coverage
        if coverage["kept"]:
            continue
        dropped = {reason: count for reason, count in coverage["dropped"].items() if count}
        bad = {reason: row for reason, row in coverage["first"].items() if reason != "header"}
        first = ""
        if bad:
            reason, row = min(bad.items(), key=lambda item: item[1]["line"])
            first = f"; first bad row: line {row['line']}: {shown(row['text'])}: {reason}"
            first += f"; allowed types: {TYPE_WORDS}" if reason == "unknown_type" else ""
        raise DataError(f"{path}: none of {coverage['read']} rows is usable: {dropped}{first}")


def finish_rows(read: Mapping[str, TripletRows]) -> dict[str, Annotations]:
    """The arrays of all files; they number faces from the same number, which is found from all files together.

    Raises:
        DataError: both 0 and 3 occur.
    """
    seen = {number: f"{rows.path}: line {line}" for rows in read.values() for number, line in rows.seen.items()}
    name = ", ".join(str(rows.path) for rows in read.values())
    if {NUMBERS[0], NUMBERS[-1]} <= seen.keys():
        name = f"{seen[NUMBERS[0]]} and {seen[NUMBERS[-1]]}"
    base = label_base(seen.keys(), NUMBERS[-1], name)
    return {split: rows.finish(base) for split, rows in read.items()}


def _in_order(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in order of first appearance, and the index of each value among them, int32."""
    distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return distinct[order], rank[inverse]
