"""Annotation files of ``rehearsal.py``, in the layout of FEC, and what ``prepare fec`` must count of them.

The raters know the true distances and err at random, so how many rows lack agreement is known from the answers.

Shape suffixes: F faces, T triplets, S source faces, E coordinates of an expression.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fecnet.synthetic.annotators import true_odd

RATER_ERROR = 0.15  # probability that a rater takes one of the two other faces
RATERS = (6, 12)  # of a row
FAULTY = 2000  # one row of so many has each of the faults below, and at least one
FAULTS = {
    "short_row": "{faces}",
    "bad_box": "{url},0.9,0.1,0.2,0.5,{last_two},TWO_CLASS_TRIPLET,r,1",
    "same_face_twice": "{first},{first},{first},TWO_CLASS_TRIPLET,r,1",
    "unknown_type": "{faces},FOUR_CLASS_TRIPLET,r,1",
    "incomplete_answers": "{faces},TWO_CLASS_TRIPLET,r,1,s",
    "bad_answer": "{faces},TWO_CLASS_TRIPLET,r,7",
    "empty_line": "",
}
_TYPES = ("ONE_CLASS_TRIPLET", "TWO_CLASS_TRIPLET", "THREE_CLASS_TRIPLET")
_NUM_RATERS = 400
_CLEAR = 1.3  # the second closest pair is at least so many times as far apart as the closest


@dataclass(frozen=True)
class FacesOfPhotos:
    """All faces of all photos.

    Attributes:
        text: address and box of each, as FEC writes them.
        photo_F: number of its photo, shape (F,).
        source_F: its source face, shape (F,).
    """

    text: Sequence[str]
    photo_F: np.ndarray
    source_F: np.ndarray


@dataclass(frozen=True)
class Written:
    """What a file holds.

    Attributes:
        read: rows.
        dropped: rows by the reason for which they must be dropped.
        photos: numbers of the photos of the others.
    """

    read: int
    dropped: dict[str, int]
    photos: set[int]


def write_annotations(
    path: Path, faces: FacesOfPhotos, expression_SE: np.ndarray, label_S: np.ndarray, *, rows: int, seed: int
) -> Written:
    """Write a file of so many rows of three faces with different sources."""
    rng, draw = np.random.default_rng(seed), random.Random(seed)
    each = max(1, rows // FAULTY)
    faces_T3 = _sample_triplets(faces.source_F, expression_SE, rows, rng)
    sources_T3 = faces.source_F[faces_T3]
    odd_T = true_odd(expression_SE, sources_T3)
    type_T = [len(set(labels)) - 1 for labels in label_S[sources_T3].tolist()]
    faults = draw.sample(range(rows), each * len(FAULTS))
    fault_of = {row: reason for place, reason in enumerate(FAULTS) for row in faults[place * each : (place + 1) * each]}
    raters = [f"{draw.getrandbits(64):016x}" for _ in range(_NUM_RATERS)]
    dropped: Counter[str] = Counter()
    photos: set[int] = set()
    with path.open("w", encoding="utf-8") as file:
        for row, (trio, odd, kind) in enumerate(zip(faces_T3.tolist(), odd_T.tolist(), type_T, strict=True)):
            texts = [faces.text[face] for face in trio]
            if reason := fault_of.get(row, ""):
                file.write(f"{_faulty(reason, texts)}\n")
            else:
                answers = [*_answers(odd, draw)]
                reason = disagreement(answers)
                pairs = zip(draw.sample(raters, len(answers)), answers, strict=True)
                told = ",".join(f"{rater},{answer}" for rater, answer in pairs)
                file.write(f"{','.join(texts)},{_TYPES[kind]},{told}\n")
            if reason:
                dropped[reason] += 1
            else:
                photos.update(faces.photo_F[trio].tolist())
    return Written(rows, dict(dropped), photos)


def disagreement(answers: Sequence[int]) -> str:
    """Why a row with these answers is dropped; empty where two thirds agree."""
    (_, most), *others = Counter(answers).most_common()
    if others and others[0][1] == most:
        return "tie"
    return "" if 3 * most >= 2 * len(answers) else "no_agreement"


def _answers(odd: int, draw: random.Random) -> Iterator[int]:
    """Answers 1..3 of six to twelve raters."""
    for _ in range(draw.randint(*RATERS)):
        yield (odd + draw.choice((1, 2)) * (draw.random() < RATER_ERROR)) % 3 + 1


def _faulty(reason: str, texts: Sequence[str]) -> str:
    parts: Mapping[str, str] = {
        "faces": ",".join(texts),
        "first": texts[0],
        "last_two": ",".join(texts[1:]),
        "url": texts[0].split(",")[0],
    }
    return FAULTS[reason].format(**parts)


def _sample_triplets(source_F: np.ndarray, expression_SE: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Faces of three different sources, of which two are clearly closest, shape (T, 3)."""
    kept = np.empty((0, 3), np.int64)
    distance_SS = np.linalg.norm(expression_SE[:, None] - expression_SE, axis=-1)
    while len(kept) < num:
        faces_T3 = rng.integers(len(source_F), size=(2 * num, 3))
        a, b, c = source_F[faces_T3].T
        nearest_T3 = np.sort(np.stack([distance_SS[a, b], distance_SS[a, c], distance_SS[b, c]], axis=1), axis=1)
        clear_T = (nearest_T3[:, 0] > 0) & (nearest_T3[:, 1] >= _CLEAR * nearest_T3[:, 0])
        kept = np.concatenate([kept, faces_T3[clear_T]])
    return kept[:num]
