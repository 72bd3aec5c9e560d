"""Six simulated people who are shown three faces and say which expression is the odd one out.

Shape suffixes: N faces, E expression numbers, T triplets, R raters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fecnet.structures import TripletType
from fecnet.utils.errors import UserError

NUM_RATERS = 6
MIN_AGREEING = 4  # two thirds of the raters, the rule by which FEC triplets are kept (arXiv:1811.11283)
# A rater's noise on each distance he sees, in units of that distance. Raters differ in care.
RATER_NOISE = np.array([0.16, 0.20, 0.24, 0.30, 0.36, 0.44])
# A candidate is kept only if there is something to see: the second closest pair is at least this many times as far
# apart as the closest. Without it most one-class triplets would be coin tosses that six raters agree on by chance.
CLEAR = 1.8
_PAIR_LEFT, _PAIR_RIGHT = np.array([1, 0, 0]), np.array([2, 2, 1])  # pair k is what stays when face k is taken away


@dataclass(frozen=True)
class RatedTriplets:
    """Triplets on which the raters agree, and what became of the others.

    Attributes:
        faces_T3: rows of the faces, int64, shape (T, 3).
        odd_T: the face the majority calls odd, 0..2, shape (T,).
        type_T: ``TripletType``, shape (T,).
        votes_T3: raters who called face k odd, shape (T, 3).
        answer_TR: what each rater said, 0..2, shape (T, R).
        num_unclear: candidates dropped because no face stands out, see ``CLEAR``.
        num_disagreed: candidates dropped because fewer than ``MIN_AGREEING`` raters said the same.
    """

    faces_T3: np.ndarray
    odd_T: np.ndarray
    type_T: np.ndarray
    votes_T3: np.ndarray
    answer_TR: np.ndarray
    num_unclear: int
    num_disagreed: int


def ask_raters(seen_NE: np.ndarray, faces_T3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each rater names the face outside the pair that looks closest to him.

    Args:
        seen_NE: expressions in the raters' units: their Euclidean distance is what a rater without noise sees.
        faces_T3: rows of ``seen_NE``, shape (T, 3).
        rng: source of the raters' noise.

    Returns:
        The odd face 0..2 by each rater, shape (T, R).
    """
    noise_TR3 = rng.standard_normal((len(faces_T3), NUM_RATERS, 3)) * RATER_NOISE[:, None]
    return np.argmin(_pair_distances(seen_NE, faces_T3)[:, None] + noise_TR3, axis=-1)


def _pair_distances(seen_NE: np.ndarray, faces_T3: np.ndarray) -> np.ndarray:
    """Distance between the two faces that stay when face k is taken away, shape (T, 3)."""
    seen_T3E = seen_NE[faces_T3]
    return np.linalg.norm(seen_T3E[:, _PAIR_LEFT] - seen_T3E[:, _PAIR_RIGHT], axis=-1)


def rate_triplets(seen_NE: np.ndarray, label_N: np.ndarray, num: int, rng: np.random.Generator) -> RatedTriplets:
    """Draw candidate triplets, ask the raters and keep those they agree on, a third of each type.

    Args:
        seen_NE: expressions in the raters' units, shape (N, E).
        label_N: expression label of each face, shape (N,).
        num: triplets wanted; types may differ by one.
        rng: source of all randomness.

    Returns:
        ``num`` triplets in random order.

    Raises:
        UserError: a label has fewer than three faces, or there are fewer than three labels.
    """
    by_label = [np.flatnonzero(label_N == label) for label in range(int(label_N.max(initial=-1)) + 1)]
    if len(by_label) < 3 or min(map(len, by_label)) < 3:
        raise UserError(f"{len(label_N)} faces are too few: three are needed of each of at least three labels")
    parts = [_rate_type(seen_NE, by_label, kind, num // 3 + (kind < num % 3), rng) for kind in TripletType]
    order = rng.permutation(num)
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("faces_T3", "odd_T", "type_T", "votes_T3", "answer_TR")
    }
    return RatedTriplets(
        **joined,
        num_unclear=sum(part.num_unclear for part in parts),
        num_disagreed=sum(part.num_disagreed for part in parts),
    )


def _rate_type(
    seen_NE: np.ndarray, by_label: list[np.ndarray], kind: TripletType, num: int, rng: np.random.Generator
) -> RatedTriplets:
    """``num`` kept triplets of one type; candidates after the last one kept count as never drawn."""
    faces, answers, clear = np.empty((0, 3), np.int64), np.empty((0, NUM_RATERS), np.int64), np.empty(0, bool)
    agreed = clear
    while (clear & agreed).sum() < num:
        more = _draw_candidates(by_label, kind, 4 * num, rng)
        closest_T3 = np.sort(_pair_distances(seen_NE, more), axis=1)
        faces = np.concatenate([faces, more])
        clear = np.concatenate([clear, closest_T3[:, 1] >= CLEAR * closest_T3[:, 0]])
        answers = np.concatenate([answers, ask_raters(seen_NE, more, rng)])
        agreed = _count(answers).max(axis=1) >= MIN_AGREEING
    kept = np.flatnonzero(clear & agreed)[:num]
    drawn = int(kept[-1]) + 1 if num else 0
    votes = _count(answers[kept])
    return RatedTriplets(
        faces_T3=faces[kept],
        odd_T=votes.argmax(axis=1),
        type_T=np.full(num, kind),
        votes_T3=votes,
        answer_TR=answers[kept],
        num_unclear=int((~clear[:drawn]).sum()),
        num_disagreed=int((clear & ~agreed)[:drawn].sum()),
    )


def _draw_candidates(by_label: list[np.ndarray], kind: TripletType, num: int, rng: np.random.Generator) -> np.ndarray:
    """``num`` triplets of three different faces whose labels are as ``kind`` says, in random order within each."""
    labels = rng.permuted(np.tile(np.arange(len(by_label)), (num, 1)), axis=1)[:, :3]
    labels[:, 1:] = labels[:, :1] if kind == TripletType.ONE_CLASS else labels[:, 1:]
    if kind == TripletType.TWO_CLASS:
        labels[:, 1] = labels[:, 0]
    sizes = np.array([len(rows) for rows in by_label])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Three different places in a label's list: the second and third step over the places already taken.
    places = np.floor(rng.random((num, 3)) * (sizes[labels] - [0, 1, 2])).astype(np.int64)
    places[:, 1] += places[:, 1] >= places[:, 0]
    low, high = np.minimum(places[:, 0], places[:, 1]), np.maximum(places[:, 0], places[:, 1])
    places[:, 2] += places[:, 2] >= low
    places[:, 2] += places[:, 2] >= high
    return rng.permuted(np.concatenate(by_label)[first[labels] + places], axis=1)


def _count(answer_TR: np.ndarray) -> np.ndarray:
    return (answer_TR[..., None] == np.arange(3)).sum(axis=1)
