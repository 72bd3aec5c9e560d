"""Exports answers as tables: in FEC's layout, in that of ``fecnet prepare triplets``, and as a complete log.

``fecnet.rate.votes`` defines which answers count.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from fecnet.rate.raters import rater_name
from fecnet.rate.study import Study
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError
from fecnet.utils.files import whole_or_absent

ANSWERS, LOG = "answers.csv", "log.csv"
_WHOLE = ("0.0", "1.0", "0.0", "1.0")  # left, right, top, bottom: the whole picture is the face
_WORDS = {kind.value: f"{kind.name}_TRIPLET" for kind in TripletType}
_UNKNOWN = (
    TripletType.TWO_CLASS.value
)  # type written for triplets of unknown type; fecnet prepare triplets assumes the same
_LETTERS = "abc"

_COUNTED = """
SELECT triplets.id, a, b, c, type, rater, shown, choice
FROM answers JOIN tasks ON tasks.id = task JOIN triplets ON triplets.id = triplet JOIN raters ON raters.id = rater
WHERE replaced_at IS NULL AND again = 0 AND known IS NULL AND excluded = 0
ORDER BY triplets.id, rater
"""
_EVERY = """
SELECT answers.id, triplets.id AS triplet, a, b, c, type, strategy, round, known, again, rater, excluded, number, shown,
    choice, seconds, answered_at, replaced_at
FROM answers JOIN tasks ON tasks.id = task JOIN triplets ON triplets.id = triplet JOIN raters ON raters.id = rater
ORDER BY answers.id
"""


def export_study(study: Study, path: str | Path) -> dict[str, int]:
    """Write a folder with a table of each split in FEC's layout, ``answers.csv`` and ``log.csv``.

    Args:
        study: an open study; raters may answer meanwhile.
        path: the folder to create.

    Returns:
        Number of triplets by split, of ``answers`` that count and have a choice, and of answers in the ``log``.

    Raises:
        DataError: ``path`` exists, or there is no answer yet.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: exists; allowed: a folder to create")
    with whole_or_absent(path) as partial:
        partial.mkdir(parents=True)
        counts = Counter({"answers": _write(partial / ANSWERS, answer_rows(study))})
        by_split: dict[str, list[list[str]]] = {}
        for split, row in fec_rows(study):
            by_split.setdefault(split, []).append(row)
        if not by_split:
            raise DataError(f"{study.path}: no answers yet")
        for split, rows in by_split.items():
            counts[split] = _write(partial / f"{split}.csv", rows)
        counts["log"] = _write(partial / LOG, log_rows(study)) - 1
    counts["answers"] -= 1
    return dict(counts)


def fec_rows(study: Study) -> Iterator[tuple[str, list[str]]]:
    """Split and fields of each answered triplet: three times name and edges, the type, pairs of a rater and an answer.

    The answers are 1..3, as in FEC. Answers without a choice are left out.
    """
    names, splits = _names(study), _splits(study)
    told = [answer for answer in study.rows(_COUNTED) if answer["choice"] is not None]
    for _, group in groupby(told, key=itemgetter("id")):
        answers = [*group]
        first = answers[0]
        row = [field for letter in _LETTERS for field in (names[first[letter]], *_WHOLE)]
        row.append(_word(first["type"]))
        for answer in answers:
            row += [rater_name(answer["rater"]), str(answer["choice"] + 1)]
        yield splits[first["a"]], row


def answer_rows(study: Study) -> Iterator[list[str]]:
    """A header, and a row for each answer that counts, as ``fecnet prepare triplets`` reads them.

    The faces are in the order in which the rater saw them; ``odd`` is empty where the rater could not tell.
    """
    names, splits, people = _names(study), _splits(study), _people(study)
    has_types = study.one("SELECT 1 FROM triplets WHERE type IS NOT NULL AND known IS NULL") is not None
    has_people = any(people.values())
    header = [*_LETTERS, "odd", "rater", "split", *(["type"] if has_types else [])]
    yield [*header, *(f"subject_{letter}" for letter in _LETTERS if has_people)]
    for answer in study.rows(_COUNTED):
        trio = [answer[letter] for letter in _LETTERS]
        shown = [trio[int(place)] for place in answer["shown"]]
        odd = "" if answer["choice"] is None else names[trio[answer["choice"]]]
        row = [*(names[face] for face in shown), odd, rater_name(answer["rater"]), splits[trio[0]]]
        row += [_word(answer["type"])] if has_types else []
        yield [*row, *(people[face] for face in shown if has_people)]


def log_rows(study: Study) -> Iterator[list[str]]:
    """A header, and a row with all details for each answer that was ever given."""
    names = _names(study)
    yield [
        *("answer", "triplet", "a", "b", "c", "odd", "rater", "excluded", "task", "shown", "seconds", "answered_at"),
        *("replaced_at", "again", "known", "type", "strategy", "round"),
    ]
    for row in study.rows(_EVERY):
        trio = [names[row[letter]] for letter in _LETTERS]
        yield [
            *(str(row["id"]), str(row["triplet"]), *trio, "" if row["choice"] is None else trio[row["choice"]]),
            *(rater_name(row["rater"]), str(row["excluded"]), str(row["number"])),
            *(" ".join(_LETTERS[int(place)] for place in row["shown"]), f"{row['seconds']:g}"),
            *(_time(row["answered_at"]), "" if row["replaced_at"] is None else _time(row["replaced_at"])),
            *(str(row["again"]), "" if row["known"] is None else trio[row["known"]]),
            *("" if row["type"] is None else _word(row["type"]), row["strategy"], str(row["round"])),
        ]


def _names(study: Study) -> dict[int, str]:
    return {row["id"]: row["name"] for row in study.rows("SELECT id, name FROM faces")}


def _splits(study: Study) -> dict[int, str]:
    return {row["id"]: row["split"] for row in study.rows("SELECT id, split FROM faces")}


def _people(study: Study) -> dict[int, str]:
    return {row["id"]: row["subject"] for row in study.rows("SELECT id, subject FROM faces")}


def _word(kind: int | None) -> str:
    return _WORDS[_UNKNOWN if kind is None else kind]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _write(path: Path, rows: Iterable[Sequence[str]]) -> int:
    """Write a table; returns its number of rows."""
    number = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for row in rows:
            writer.writerow(row)
            number += 1
    return number


def write_answers(study: Study, path: Path) -> None:
    """Write only ``answers.csv``.

    Raises:
        DataError: there is no answer yet.
    """
    if _write(path, answer_rows(study)) < 2:
        raise DataError(f"{study.path}: no answers yet")
