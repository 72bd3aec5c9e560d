"""Six simulated annotators, each of whom picks the odd expression out of three faces.

Shape suffixes: N faces, E expression parameters, T triplets, A annotators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fecnet.structures import TripletType
from fecnet.utils.errors import UserError

NUM_ANNOTATORS = 6
MIN_AGREEING = 4  # two thirds of the annotators, the rule for keeping FEC triplets (arXiv:1811.11283)
# Standard deviation of each annotator's noise on a distance, in units of the distance. Annotators differ in accuracy.
ANNOTATOR_NOISE = np.array([0.16, 0.20, 0.24, 0.30, 0.36, 0.44])
# A candidate is kept only if it is unambiguous: the second-closest pair is at least this many times as far apart as the
# closest. Without this, most one-class triplets would be coin tosses on which six annotators agree by chance.
CLEAR = 1.8
_PAIR_LEFT, _PAIR_RIGHT = np.array([1, 0, 0]), np.array([2, 2, 1])  # pair k is the two faces other than k


@dataclass(frozen=True)
class AnnotatedTriplets:
    """Triplets on which the annotators agree, and counts of the rejected candidates.

    Attributes:
        faces_T3: rows of the faces, int64, shape (T, 3).
        odd_T: the odd face by majority, 0..2, shape (T,).
        type_T: ``TripletType``, shape (T,).
        votes_T3: number of annotators who chose face k, shape (T, 3).
        answer_TA: the answer of each annotator, 0..2, shape (T, A).
        num_unclear: candidates dropped as ambiguous, see ``CLEAR``.
        num_disagreed: candidates dropped because fewer than ``MIN_AGREEING`` annotators agreed.
    """

    faces_T3: np.ndarray
    odd_T: np.ndarray
    type_T: np.ndarray
    votes_T3: np.ndarray
    answer_TA: np.ndarray
    num_unclear: int
    num_disagreed: int


def simulate_answers(perceptual_NE: np.ndarray, faces_T3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each annotator chooses the face outside the closest pair, by distances with the annotator's own noise.

    Args:
        perceptual_NE: expressions in perceptual units, shape (N, E): a noiseless annotator perceives their Euclidean
            distance.
        faces_T3: rows of ``perceptual_NE``, shape (T, 3).
        rng: source of the annotators' noise.

    Returns:
        The odd face 0..2 of each annotator, shape (T, A).
    """
    noise_TA3 = rng.standard_normal((len(faces_T3), NUM_ANNOTATORS, 3)) * ANNOTATOR_NOISE[:, None]
    return np.argmin(_pair_distances(perceptual_NE, faces_T3)[:, None] + noise_TA3, axis=-1)


def true_odd(perceptual_NE: np.ndarray, faces_T3: np.ndarray) -> np.ndarray:
    """The answers of an annotator without noise: the face outside the closest pair, 0..2, shape (T,)."""
    return np.asarray(_pair_distances(perceptual_NE, faces_T3).argmin(axis=1))


def _pair_distances(perceptual_NE: np.ndarray, faces_T3: np.ndarray) -> np.ndarray:
    """Distance between the two faces other than k, shape (T, 3)."""
    perceptual_T3E = perceptual_NE[faces_T3]
    return np.linalg.norm(perceptual_T3E[:, _PAIR_LEFT] - perceptual_T3E[:, _PAIR_RIGHT], axis=-1)


def annotate_triplets(
    perceptual_NE: np.ndarray, label_N: np.ndarray, num: int, rng: np.random.Generator
) -> AnnotatedTriplets:
    """Sample candidate triplets, simulate the annotators and keep those on which they agree, a third of each type.

    Args:
        perceptual_NE: expressions in perceptual units, shape (N, E).
        label_N: expression label of each face, shape (N,).
        num: number of triplets; types may differ by one.
        rng: source of all randomness.

    Returns:
        ``num`` triplets in random order.

    Raises:
        UserError: a label has fewer than three faces, or there are fewer than three labels.
    """
    by_label = [np.flatnonzero(label_N == label) for label in range(int(label_N.max(initial=-1)) + 1)]
    if len(by_label) < 3 or min(map(len, by_label)) < 3:
        raise UserError(f"{len(label_N)} faces are too few: three are needed of each of at least three labels")
    parts = [_annotate_type(perceptual_NE, by_label, kind, num // 3 + (kind < num % 3), rng) for kind in TripletType]
    order = rng.permutation(num)
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("faces_T3", "odd_T", "type_T", "votes_T3", "answer_TA")
    }
    return AnnotatedTriplets(
        **joined,
        num_unclear=sum(part.num_unclear for part in parts),
        num_disagreed=sum(part.num_disagreed for part in parts),
    )


def _annotate_type(
    perceptual_NE: np.ndarray, by_label: list[np.ndarray], kind: TripletType, num: int, rng: np.random.Generator
) -> AnnotatedTriplets:
    """``num`` kept triplets of one type; candidates after the last kept one are not counted."""
    faces, answers, clear = np.empty((0, 3), np.int64), np.empty((0, NUM_ANNOTATORS), np.int64), np.empty(0, bool)
    agreed = clear
    while (clear & agreed).sum() < num:
        more = _sample_candidates(by_label, kind, 4 * num, rng)
        closest_T3 = np.sort(_pair_distances(perceptual_NE, more), axis=1)
        faces = np.concatenate([faces, more])
        clear = np.concatenate([clear, closest_T3[:, 1] >= CLEAR * closest_T3[:, 0]])
        answers = np.concatenate([answers, simulate_answers(perceptual_NE, more, rng)])
        agreed = _count(answers).max(axis=1) >= MIN_AGREEING
    kept = np.flatnonzero(clear & agreed)[:num]
    num_sampled = int(kept[-1]) + 1 if num else 0
    votes = _count(answers[kept])
    return AnnotatedTriplets(
        faces_T3=faces[kept],
        odd_T=votes.argmax(axis=1),
        type_T=np.full(num, kind),
        votes_T3=votes,
        answer_TA=answers[kept],
        num_unclear=int((~clear[:num_sampled]).sum()),
        num_disagreed=int((clear & ~agreed)[:num_sampled].sum()),
    )


def _sample_candidates(by_label: list[np.ndarray], kind: TripletType, num: int, rng: np.random.Generator) -> np.ndarray:
    """``num`` triplets of three different faces with labels of type ``kind``, in random order within each triplet."""
    labels = rng.permuted(np.tile(np.arange(len(by_label)), (num, 1)), axis=1)[:, :3]
    labels[:, 1:] = labels[:, :1] if kind == TripletType.ONE_CLASS else labels[:, 1:]
    if kind == TripletType.TWO_CLASS:
        labels[:, 1] = labels[:, 0]
    sizes = np.array([len(rows) for rows in by_label])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Three different indices within a label, without replacement: the second and third skip those already taken.
    places = np.floor(rng.random((num, 3)) * (sizes[labels] - [0, 1, 2])).astype(np.int64)
    places[:, 1] += places[:, 1] >= places[:, 0]
    low, high = np.minimum(places[:, 0], places[:, 1]), np.maximum(places[:, 0], places[:, 1])
    places[:, 2] += places[:, 2] >= low
    places[:, 2] += places[:, 2] >= high
    return rng.permuted(np.concatenate(by_label)[first[labels] + places], axis=1)


def _count(answer_TA: np.ndarray) -> np.ndarray:
    return (answer_TA[..., None] == np.arange(3)).sum(axis=1)
