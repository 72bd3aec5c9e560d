"""Chooses the triplets to ask, at random or by the classes of their faces, using all faces equally often.

Shape suffixes: N faces, T triplets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from fecnet.structures import TripletType
from fecnet.utils.errors import DataError

UNKNOWN = -1  # type of a triplet whose faces have no labels
_TRIES = 2000  # number of draws without a new triplet after which sampling stops
_NEAR = 12  # returned faces are inserted among this many first places of a queue
_PATTERNS = {  # numbers of faces of each class
    TripletType.ONE_CLASS: (3,),
    TripletType.TWO_CLASS: (2, 1),
    TripletType.THREE_CLASS: (1, 1, 1),
}
NAMES = {TripletType.ONE_CLASS: "one-class", TripletType.TWO_CLASS: "two-class", TripletType.THREE_CLASS: "three-class"}


class Chosen(NamedTuple):
    """Triplets to ask.

    Attributes:
        faces_T3: rows of the faces, increasing in each triplet, int64, shape (T, 3).
        type_T: ``TripletType``, or ``UNKNOWN``, shape (T,).
    """

    faces_T3: np.ndarray
    type_T: np.ndarray


def random_triplets(
    rows_M: np.ndarray, label_N: np.ndarray, num: int, rng: np.random.Generator, taken: Collection[tuple[int, ...]] = ()
) -> Chosen:
    """Triplets of any faces.

    Args:
        rows_M: rows of the faces to choose from.
        label_N: class of each face, −1 where it is unknown, shape (N,); determines the types of the triplets.
        num: T.
        rng: source of all randomness.
        taken: triplets that are asked already, as increasing rows.

    Raises:
        DataError: there are fewer triplets.
    """
    faces_T3 = _Drawing([rows_M], rng, taken).draw((3,), num)
    return Chosen(faces_T3, types_of(label_N[faces_T3]))


def typed_triplets(
    rows_M: np.ndarray, label_N: np.ndarray, num: int, rng: np.random.Generator, taken: Collection[tuple[int, ...]] = ()
) -> Chosen:
    """Triplets by their types: a third whose faces share a class, a third where two do, a third of three classes.

    See ``random_triplets``; faces without a class are left out.

    Raises:
        DataError: the classes have no triplets of some type, or fewer than requested.
    """
    by_class = [rows_M[label_N[rows_M] == label] for label in np.unique(label_N[rows_M]).tolist() if label >= 0]
    sizes = sorted((len(rows) for rows in by_class), reverse=True)
    if len(sizes) < 3 or sizes[0] < 3:
        raise DataError(
            f"{len(sizes)} classes with {', '.join(map(str, sizes)) or 'no'} faces; typed triplets need three classes, "
            "one of them with three faces"
        )
    drawing = _Drawing(by_class, rng, taken)
    parts = []
    for kind, pattern in _PATTERNS.items():
        share = num // 3 + (kind < num % 3)
        parts.append(Chosen(drawing.draw(pattern, share), np.full(share, kind)))
    order = rng.permutation(num)
    return Chosen(*(np.concatenate(values)[order] for values in zip(*parts, strict=True)))


def known_triplets(
    rows_M: np.ndarray, label_N: np.ndarray, num: int, rng: np.random.Generator, taken: Collection[tuple[int, ...]] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Two-class triplets as controls: the odd face is the one with the other class.

    For the arguments see ``random_triplets``; fewer triplets are returned if there are fewer.

    Returns:
        Rows of the faces, increasing, shape (T, 3); place 0..2 of the odd one, shape (T,).
    """
    by_class = [rows_M[label_N[rows_M] == label] for label in np.unique(label_N[rows_M]).tolist() if label >= 0]
    if len(by_class) < 2 or max(map(len, by_class)) < 2 or not num:
        return np.empty((0, 3), np.int64), np.empty(0, np.int64)
    faces_T3 = _Drawing(by_class, rng, taken).draw((2, 1), num, all_of_them=False)
    label_T3 = label_N[faces_T3]
    # of three labels, two of which are equal, the odd one differs from both others
    odd_T = ((label_T3[:, :, None] == label_T3[:, None]).sum(axis=2) == 1).argmax(axis=1)
    return faces_T3, odd_T


def types_of(label_T3: np.ndarray) -> np.ndarray:
    """The type of triplets by the classes of their faces; ``UNKNOWN`` where one is unknown."""
    ordered_T3 = np.sort(label_T3, axis=1)
    type_T = (np.diff(ordered_T3, axis=1) > 0).sum(axis=1)
    return np.where((label_T3 < 0).any(axis=1), UNKNOWN, type_T)


class _Drawing:
    """Draws distinct triplets and uses all faces equally often.

    Each class has a queue of its faces, in a new random order for every round through them. The class whose faces were
    used least, on average, comes first. The faces of a triplet that was drawn before are returned to their queues but
    count as used, so that a class without new triplets does not come first forever.

    Args:
        by_class: rows of the faces of each class.
        rng: source of all randomness.
        taken: triplets that must not be drawn.
    """

    def __init__(
        self, by_class: Sequence[np.ndarray], rng: np.random.Generator, taken: Collection[tuple[int, ...]]
    ) -> None:
        self._rng, self._taken = rng, {*taken}
        self._classes = [rows for rows in by_class if len(rows)]
        self._queues: list[list[int]] = [[] for _ in self._classes]
        self._used = np.zeros(len(self._classes))

    def draw(self, pattern: Sequence[int], num: int, *, all_of_them: bool = True) -> np.ndarray:
        """Triplets with these numbers of faces per class, shape (num, 3); possibly fewer unless ``all_of_them``."""
        drawn: list[tuple[int, ...]] = []
        tries = 0
        while len(drawn) < num and tries < _TRIES:
            parts = self._parts(pattern)
            if not parts:
                break
            trio = tuple(sorted(row for _, rows in parts for row in rows))
            if trio in self._taken:
                tries += 1
                self._give_back(parts)
                continue
            tries = 0
            self._taken.add(trio)
            drawn.append(trio)
        if len(drawn) < num and all_of_them:
            raise DataError(f"{num:,} triplets are asked for; of these faces there are {len(drawn):,}")
        return np.array(drawn, np.int64).reshape(-1, 3)

    def _parts(self, pattern: Sequence[int]) -> list[tuple[int, list[int]]]:
        """The next triplet, as classes with their faces; empty where too few classes have enough faces."""
        use = self._used / [len(rows) for rows in self._classes]
        order = np.lexsort((self._rng.random(len(use)), use)).tolist()
        chosen = []
        for number in pattern:
            place = next((place for place in order if len(self._classes[place]) >= number), None)
            if place is None:
                return []
            order.remove(place)
            chosen.append((place, number))
        return [(place, self._take(place, number)) for place, number in chosen]

    def _take(self, place: int, number: int) -> list[int]:
        """The first ``number`` distinct faces of a queue."""
        queue, taken = self._queues[place], list[int]()
        self._used[place] += number
        at = 0
        while len(taken) < number:
            if at == len(queue):
                queue += self._rng.permutation(self._classes[place]).tolist()
            if queue[at] in taken:
                at += 1
            else:
                taken.append(queue.pop(at))
        return taken

    def _give_back(self, parts: Sequence[tuple[int, list[int]]]) -> None:
        for place, rows in parts:
            queue = self._queues[place]
            if len(queue) < _NEAR:
                queue += self._rng.permutation(self._classes[place]).tolist()
            for row in rows:
                queue.insert(int(self._rng.integers(0, min(len(queue), _NEAR) + 1)), row)
