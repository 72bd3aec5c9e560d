"""Holds people out: whole subjects are assigned to the splits ``val`` and ``test``, before triplets are made.

Used for labelled pictures and for triplets: ``parse_shares``, ``people_of``, ``split_people``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256

from fecnet.utils.errors import DataError

TRAIN = "train"
OPTION = "--hold-out-subjects"
HELP = (
    "shares of the people whose faces become the splits val and test, such as 0.1,0.15; one number is that of test; "
    "all others are train. "
)
_PARTS = ("val", "test")  # the splits of two shares; a single share is for the last
_ALLOWED = "a share for test, or one for val and one for test, each above 0, together below 1, such as 0.1,0.15"

Shares = Mapping[str, float]  # share of the people by split


def parse_shares(text: str, *, option: str = OPTION) -> Shares:
    """The shares of ``--hold-out-subjects``: ``0.15`` is for ``test``, ``0.1,0.15`` are for ``val`` and ``test``.

    Args:
        text: the value of the option.
        option: name of the option, for messages.

    Raises:
        DataError: not one or two numbers, a share of 0 or less, or shares that leave nobody to train on.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= len(_PARTS) or not all(number > 0 for number in numbers) or not sum(numbers) < 1:
        raise DataError(f"{option} {text}; allowed: {_ALLOWED}")
    return dict(zip(_PARTS[-len(numbers) :], numbers, strict=True))


def people_of(subjects: Sequence[str], sources: Sequence[str]) -> list[str]:
    """The person of each face: its subject; a face of unknown subject counts as a person of its own.

    Args:
        subjects: subject of each face; empty = unknown.
        sources: source of each face, which distinguishes unknown persons.
    """
    # never equal to the name of a subject, since these contain no NUL
    return [subject or f"\0{source}" for subject, source in zip(subjects, sources, strict=True)]


def split_people(
    people: Iterable[str], shares: Shares, *, seed: int, origin: object, option: str = OPTION
) -> dict[str, str]:
    """The split of each person: ``train``, or one of ``shares``.

    People are ordered by a hash of the seed and their name. The first are assigned to ``test``, the next to ``val``,
    in numbers given by the shares, rounded. The result does not depend on the order of the rows, and one additional
    person moves at most one other person across each of the two borders.

    Args:
        people: the person of every face, with repetitions, in any order.
        shares: output of ``parse_shares``.
        seed: seed of the choice of people.
        origin: the file or folder that was read, for error messages.
        option: name of the option, for error messages.

    Raises:
        DataError: a split is left without a person.
    """
    ordered = sorted(set(people), key=lambda person: sha256(f"{seed}|{person}".encode()).digest())
    total, parts = len(ordered), (TRAIN, *shares)
    written = ",".join(f"{share:g}" for share in shares.values())
    if total < len(parts):
        raise DataError(
            f"{origin}: {option} {written}: {_counted(total)}; allowed: one or more for each of {', '.join(parts)}"
        )
    splits, begin = dict.fromkeys(ordered, TRAIN), 0
    for split, share in reversed([*shares.items()]):
        number = math.floor(share * total + 0.5)
        if not number:
            raise DataError(
                f"{origin}: {option} {written}: leaves split '{split}' without a person, {share:g} of {total} people; "
                f"allowed here: {math.ceil(500 / total) / 1000:g} or more"
            )
        splits |= dict.fromkeys(ordered[begin : begin + number], split)
        begin += number
    if begin >= total:
        raise DataError(
            f"{origin}: {option} {written}: leaves split '{TRAIN}' without a person, {total} people in all; "
            "allowed here: smaller shares"
        )
    return splits


def describe_split(person_N: Sequence[str], splits: Mapping[str, str], noun: str = "pictures") -> str:
    """The people and faces of each split in one line, such as ``train 8 people (64 pictures), test 2 people (16 …)``.

    Args:
        person_N: the person of each face.
        splits: output of ``split_people``.
        noun: word for the faces.
    """
    people, faces = Counter(splits.values()), Counter(splits[person] for person in person_N)
    return ", ".join(f"{split} {_counted(people[split])} ({faces[split]:,} {noun})" for split in _in_order(people))


def known_people(trained: Collection[str], own: Sequence[str]) -> str:
    """How many faces of a split show people who are also in training, in a few words; empty if none do.

    Args:
        trained: the subjects of the training faces; empty = unknown.
        own: the subject of each face of the split.
    """
    shared = {*trained} & {*own} - {""}
    faces = sum(subject in shared for subject in own)
    return f"subjects of {TRAIN}: {len(shared)}, on {faces} of {len(own)} faces" if shared else ""


def _counted(people: int) -> str:
    return "1 person" if people == 1 else f"{people:,} people"


def _in_order(splits: Iterable[str]) -> list[str]:
    return sorted(splits, key=(TRAIN, *_PARTS).index)
