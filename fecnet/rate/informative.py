"""Chooses informative triplets (active learning): those on which a net is uncertain, spread over faces and types.

Any triplet of the more uncertain half of the candidates may be chosen, not only the most uncertain ones, on many of
which people disagree.
A net trained on the answers so far predicts the probability of each answer, p(k) ∝ exp(−β d_k), with d_k the squared
distance of the two faces other than k. β is fitted to the existing answers, so that the net is as certain as the raters
agree with each other.
Two raters are asked, and further ones where they disagree, until two agree: see ``fecnet.rate.answers``. Many triplets
with few answers each are more informative than few triplets with many answers.

Shape suffixes: N faces, D embedding dimensions, T triplets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from fecnet.rate.choosing import UNKNOWN, Chosen, random_triplets, typed_triplets
from fecnet.utils.errors import DataError

_CANDIDATES = 10  # candidates for each chosen triplet
_BETAS = np.geomspace(0.05, 200, 60)
_DEFAULT_BETA = 4.0  # used before there are answers


def informative_triplets(
    rows_M: np.ndarray,
    label_N: np.ndarray,
    num: int,
    rng: np.random.Generator,
    taken: Collection[tuple[int, ...]] = (),
    *,
    emb_ND: np.ndarray,
    beta: float = _DEFAULT_BETA,
) -> Chosen:
    """Choose from the more uncertain half of ten times as many candidates, with faces used about equally often.

    Args:
        rows_M: rows of the faces to choose from.
        label_N: class of each face, −1 where it is unknown, shape (N,); with classes, a third of the triplets is of
            each type.
        num: T.
        rng: source of all randomness.
        taken: triplets that are asked already, as increasing rows.
        emb_ND: embedding of each face, shape (N, D); faces with rows of NaN are left out.
        beta: output of ``fit_beta``.

    Raises:
        DataError: there are fewer triplets.
    """
    rows_M = rows_M[~np.isnan(emb_ND[rows_M]).any(axis=1)]
    if len(rows_M) < 3:
        raise DataError(f"the net finds a face in {len(rows_M)} pictures; expected 3 or more")
    classes = {label for label in label_N[rows_M].tolist() if label >= 0}
    choose = typed_triplets if len(classes) > 2 else random_triplets
    pool = _most(choose, rows_M, label_N, num, rng, taken)
    undecided_T = margins(emb_ND, pool.faces_T3, beta)
    chosen = np.zeros(len(pool.type_T), bool)
    used_N = np.zeros(len(label_N), np.int64)
    kinds = [kind for kind in np.unique(pool.type_T).tolist() if kind != UNKNOWN] or [UNKNOWN]
    for place, kind in enumerate(kinds):
        share = num // len(kinds) + (place < num % len(kinds))
        ordered = np.flatnonzero((pool.type_T == kind) | (len(kinds) == 1))
        ordered = ordered[np.argsort(undecided_T[ordered], kind="stable")]
        half = max(share, len(ordered) // 2)
        ordered = np.concatenate([rng.permutation(ordered[:half]), ordered[half:]])
        _take_evenly(pool.faces_T3, ordered, share, used_N, chosen, most=-(-3 * num * 3 // (2 * len(rows_M))))
    places = rng.permutation(np.flatnonzero(chosen))
    return Chosen(pool.faces_T3[places], pool.type_T[places])


def probabilities(emb_ND: np.ndarray, faces_T3: np.ndarray, beta: float) -> np.ndarray:
    """Probability that each face is chosen as the odd one, shape (T, 3)."""
    logit_T3 = -beta * _opposite(emb_ND, faces_T3)
    share_T3 = np.exp(logit_T3 - logit_T3.max(axis=1, keepdims=True))
    return np.asarray(share_T3 / share_T3.sum(axis=1, keepdims=True))


def margins(emb_ND: np.ndarray, faces_T3: np.ndarray, beta: float) -> np.ndarray:
    """Probability of the most probable choice minus that of the second, 0..1, shape (T,)."""
    ordered_T3 = np.sort(probabilities(emb_ND, faces_T3, beta), axis=1)
    return np.asarray(ordered_T3[:, 2] - ordered_T3[:, 1])


def fit_beta(emb_ND: np.ndarray, faces_T3: np.ndarray, votes_T3: np.ndarray) -> float:
    """The β that maximises the likelihood of the raters' answers.

    Args:
        emb_ND: see ``informative_triplets``.
        faces_T3: the triplets that were answered, shape (T, 3).
        votes_T3: number of raters who chose each face, shape (T, 3).
    """
    there_T = ~np.isnan(emb_ND[faces_T3]).any(axis=(1, 2)) & (votes_T3.sum(axis=1) > 0)
    if not there_T.any():
        return _DEFAULT_BETA
    faces_T3, votes_T3 = faces_T3[there_T], votes_T3[there_T]
    likelihoods = [(votes_T3 * np.log(probabilities(emb_ND, faces_T3, beta) + 1e-12)).sum() for beta in _BETAS.tolist()]
    return float(_BETAS[int(np.argmax(likelihoods))])


def _opposite(emb_ND: np.ndarray, faces_T3: np.ndarray) -> np.ndarray:
    emb_T3D = emb_ND[faces_T3].astype(np.float64)
    return np.asarray(np.square(np.roll(emb_T3D, -1, 1) - np.roll(emb_T3D, -2, 1)).sum(axis=-1))


def _most(
    choose: Callable[..., Chosen],
    rows_M: np.ndarray,
    label_N: np.ndarray,
    num: int,
    rng: np.random.Generator,
    taken: Collection[tuple[int, ...]],
) -> Chosen:
    """As many candidates as there are, up to ``_CANDIDATES`` times ``num``."""
    for times in (_CANDIDATES, 3):
        try:
            return choose(rows_M, label_N, times * num, rng, taken)
        except DataError:
            continue  # fewer exist: try a smaller number
    return choose(rows_M, label_N, num, rng, taken)


def _take_evenly(
    faces_T3: np.ndarray, ordered: np.ndarray, num: int, used_N: np.ndarray, chosen: np.ndarray, *, most: int
) -> None:
    """Mark the first ``num`` triplets whose faces are used fewer than ``most`` times; then fill up with any others."""
    for limit in (most, 1 << 60):
        for place in ordered.tolist():
            if num == 0:
                return
            trio = faces_T3[place]
            if not chosen[place] and (used_N[trio] < limit).all():
                chosen[place] = True
                used_N[trio] += 1
                num -= 1
