"""Reads the answers of raters to triplets of a user's own photos: a row is an answer, or a triplet with its votes.

An invalid row is an error that names its line, since the user can correct the table. Rows without an answer and ties
are dropped and counted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from fecnet.prepare.answer_rows import AnswerRow, AnswerTable
from fecnet.prepare.people import OPTION, TRAIN, Shares, describe_split, people_of, split_people
from fecnet.prepare.text_rows import Tally
from fecnet.prepare.triplet_rows import MAX_VOTES, Annotations, TripletRows, check_usable
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

ANSWER_REASONS = (
    "no_answer",  # the field is empty, or nobody voted
    "tie",  # two faces, or all three, have the most votes
)


ACROSS = "across_splits"  # the people of the triplet are in several splits of --hold-out-subjects


def read_answers(
    path: Path,
    *,
    allow_absolute: bool = False,
    hold_out_subjects: Shares | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Annotations]:
    """Read a table with a header, columns in any order.

    With ``a,b,c,odd,rater`` a row is an answer: the odd one is the name of a face, of its column, or 1..3 (0..2 where
    the table contains a 0 and no 3). Rows with the same three faces in any order are one triplet. With
    ``a,b,c,votes_a,votes_b,votes_c`` a row is a triplet; a column ``odd`` then decides ties. ``type``, ``split`` and
    ``subject_a,subject_b,subject_c`` are optional.

    Args:
        path: the table; names of faces are paths relative to a folder that the caller knows.
        allow_absolute: keep absolute paths.
        hold_out_subjects: share of the people for each split but train; None: the splits of the table.
        seed: seed of the choice of people.
        progress: show a progress bar.

    Returns:
        Triplets by split, in order of first appearance, with every answer; annotators are numbered over all splits.

    Raises:
        DataError: a column is missing or occurs twice; an invalid row; no usable row; people are to be held out, but
            the table has splits or no subjects, or a split is left without a triplet.
    """
    table = AnswerTable(path, allow_absolute, progress)
    triplets = _Triplets(path)
    for row in table.rows():
        triplets.add(row)
    triplets.say_strangers()
    if hold_out_subjects is not None:
        triplets.hold_out(hold_out_subjects, seed)
    return triplets.finish()


@dataclass(slots=True)
class _Triplet:
    """The answers to a triplet; its faces are in the order of their first row. ``answers`` are 0..2."""

    line: int
    faces: tuple[str, str, str]
    kind: int
    split: str
    votes: list[int]
    odd: int | None = None  # from the column ``odd`` of a table of votes
    answers: dict[str, int] = field(default_factory=dict)  # by rater

    @property
    def num_rows(self) -> int:
        """Number of rows of the table that belong to it."""
        return len(self.answers) or 1

    def result(self) -> int | None:
        """The odd face, 0..2; None for a tie."""
        if self.odd is not None:
            return self.odd
        most = max(self.votes)
        return self.votes.index(most) if self.votes.count(most) == 1 else None


class _Triplets:
    """The triplets of a table, collected row by row.

    Args:
        path: path of the table, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._triplets: dict[tuple[str, ...], _Triplet] = {}  # by their faces, sorted by name
        self._tallies: dict[str, Tally] = {}  # by split
        self._subjects: dict[str, str] = {}

    def add(self, row: AnswerRow) -> None:
        """Add a row.

        Raises:
            DataError: it contradicts itself or an earlier row.
        """
        shown = row.shown
        tally = self._tallies.get(shown.split) or self._tallies.setdefault(shown.split, Tally(ANSWER_REASONS))
        tally.num_read += 1
        triplet: _Triplet | None = shown.triplet
        if triplet is None and shown.subjects:
            self._add_subjects(row)
        if row.odd is None if row.votes is None else not any(row.votes):
            tally.drop("no_answer", row.line, row.text)
            return
        if triplet is None or row.votes is not None:
            triplet = shown.triplet = self._triplet_of(row)
        if row.votes is not None:
            self._vote(triplet, row, row.votes)
        elif row.odd is not None:
            self._answer(triplet, row, triplet.faces.index(shown.faces[row.odd]))

    def _triplet_of(self, row: AnswerRow) -> _Triplet:
        shown = row.shown
        known = self._triplets.get(key := tuple(sorted(shown.faces)))
        if known is None:
            known = self._triplets[key] = _Triplet(row.line, shown.faces, shown.kind, shown.split, [0, 0, 0])
        elif row.votes is not None:
            raise self._fault(row, f"the triplet of line {known.line} again; allowed: one row for a triplet")
        elif (shown.kind, shown.split) != (known.kind, known.split):
            raise self._fault(row, f"another type or split than in line {known.line}; allowed: one for a triplet")
        return known

    def _vote(self, triplet: _Triplet, row: AnswerRow, votes: list[int]) -> None:
        triplet.votes, triplet.odd = votes, row.odd
        if row.odd is not None and votes[row.odd] < max(votes):
            text = ", ".join(map(str, votes))
            raise self._fault(row, f"odd is {row.shown.faces[row.odd]}, but the votes are {text}; allowed: most votes")

    def _answer(self, triplet: _Triplet, row: AnswerRow, answer: int) -> None:
        if row.rater in triplet.answers:
            raise self._fault(
                row,
                f"rater {shown(row.rater)} answers the triplet of line {triplet.line} again; allowed: one answer each",
            )
        triplet.answers[row.rater] = answer
        triplet.votes[answer] += 1
        if triplet.votes[answer] > MAX_VOTES:
            raise self._fault(row, f"more than {MAX_VOTES} raters chose {triplet.faces[answer]}")

    def _add_subjects(self, row: AnswerRow) -> None:
        for face, subject in zip(row.shown.faces, row.shown.subjects, strict=True):
            if subject and self._subjects.setdefault(face, subject) != subject:
                raise self._fault(
                    row,
                    f"{face} shows {shown(subject)}, before {shown(self._subjects[face])}; allowed: one person a face",
                )

    def _fault(self, row: AnswerRow, what: str) -> DataError:
        return DataError(f"{self._path}: line {row.line}: {what}")

    def say_strangers(self) -> None:
        """Log how many faces have no subject, where others have."""
        faces = {face for triplet in self._triplets.values() for face in triplet.faces}
        if self._subjects and (unknown := len(faces - self._subjects.keys())):
            logger.info(
                "%s: %d of %d faces without a subject: each counts as a person of its own",
                self._path,
                unknown,
                len(faces),
            )

    def hold_out(self, shares: Shares, seed: int) -> None:
        """Assign the people, and with them the triplets, to splits; drop triplets with people of several splits.

        Raises:
            DataError: the table has splits or no subjects, or a split is left without a person or a triplet.
        """
        if given := sorted({triplet.split for triplet in self._triplets.values()} - {TRAIN}):
            raise DataError(
                f"{self._path}: {OPTION}, but there are splits already: {', '.join(given)}; allowed: a table without "
                "the column, or its own splits without the option"
            )
        if not self._subjects:
            raise DataError(
                f"{self._path}: {OPTION}, but no subjects are known; allowed: subject_a, subject_b, subject_c"
            )
        faces = list(dict.fromkeys(face for triplet in self._triplets.values() for face in triplet.faces))
        people = people_of([self._subjects.get(face, "") for face in faces], faces)
        splits = split_people(people, shares, seed=seed, origin=self._path)
        logger.info("%s: held out by subject, seed %d: %s", self._path, seed, describe_split(people, splits, "faces"))
        split_of = {face: splits[person] for face, person in zip(faces, people, strict=True)}
        tallies = {split: Tally((*ANSWER_REASONS, ACROSS)) for split in (TRAIN, *shares)}
        tallies[TRAIN].add(self._tallies.pop(TRAIN))
        for key, triplet in list(self._triplets.items()):
            found = {split_of[face] for face in triplet.faces}
            if len(found) > 1:
                del self._triplets[key]
                for _ in range(triplet.num_rows):
                    tallies[TRAIN].drop(ACROSS, triplet.line, ", ".join(triplet.faces))
                continue
            (triplet.split,) = found
            tallies[TRAIN].num_read -= triplet.num_rows
            tallies[triplet.split].num_read += triplet.num_rows
        for split in tallies:
            if not any(triplet.split == split for triplet in self._triplets.values()):
                raise DataError(
                    f"{self._path}: {OPTION}: leaves split '{split}' without a triplet: all three people must be in "
                    "it; allowed: larger shares, another --seed, or triplets within groups of people"
                )
        self._tallies = tallies

    def finish(self) -> dict[str, Annotations]:
        """The arrays by split.

        Raises:
            DataError: a split has no usable row.
        """
        annotators: dict[str, int] = {}
        rows = {split: TripletRows(self._path, tally, annotators=annotators) for split, tally in self._tallies.items()}
        for triplet in self._triplets.values():
            _add(rows[triplet.split], triplet)
        tables = {split: found.finish(1, self._subjects) for split, found in rows.items()}
        check_usable(dict.fromkeys(tables, self._path), tables)
        return tables


def _add(rows: TripletRows, triplet: _Triplet) -> None:
    odd = triplet.result()
    if odd is None:
        text = f"{', '.join(triplet.faces)}: votes {', '.join(map(str, triplet.votes))}"
        for _ in range(triplet.num_rows):
            rows.tally.drop("tie", triplet.line, text)
        return
    faces = [rows.face_at(face, None) for face in triplet.faces]
    numbers = [answer + 1 for answer in triplet.answers.values()]
    rows.add(triplet.line, faces, odd + 1, triplet.kind, [0, *triplet.votes], [*triplet.answers], numbers)
