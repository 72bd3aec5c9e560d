"""Triplets from label distributions of single faces: the odd face is the one outside the closest pair.

Shape suffixes: N faces, K classes, T triplets, C candidates, P = 3 pairs of a triplet: pair k omits face k.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from fecnet.structures import TripletType

MIN_GAP = 0.25  # on the 0..2 scale of the distance; with a smaller gap raters answer almost at random
CANDIDATES_PER_TRIPLET = 100  # maximum number per requested triplet; if they do not suffice, ``short`` is reported
_TIE = 1e-9  # distances closer than this are equal, so that rounding breaks no exact tie
_TYPE_NAMES = {TripletType.ONE_CLASS: "ONE", TripletType.TWO_CLASS: "TWO", TripletType.THREE_CLASS: "THREE"}

Seed = int | np.random.SeedSequence


def pair_distances(distribution_T3K: np.ndarray) -> np.ndarray:
    """Distance Σ(√p − √q)² between the faces of each pair: twice the squared Hellinger distance.

    Args:
        distribution_T3K: share of the votes per class, float, shape (T, 3, K), each row sums to 1.

    Returns:
        Float64 in 0..2, shape (T, 3): entry k is the distance of the two faces other than k.
    """
    root_T3K = np.sqrt(distribution_T3K, dtype=np.float64)
    pairs = ((1, 2), (0, 2), (0, 1))
    return np.stack([((root_T3K[:, i] - root_T3K[:, j]) ** 2).sum(axis=1) for i, j in pairs], axis=1)


def odd_and_gap(distribution_T3K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face outside the closest pair, and the margin to the second-closest pair.

    Args:
        distribution_T3K: share of the votes per class, shape (T, 3, K).

    Returns:
        odd_T: 0..2, int64; the first on ties.
        gap_T: second-smallest minus smallest distance, float64; values up to 1e-9 are set to 0, a tie.
    """
    distance_TP = pair_distances(distribution_T3K)
    sorted_TP = np.sort(distance_TP, axis=1)
    gap_T = sorted_TP[:, 1] - sorted_TP[:, 0]
    return distance_TP.argmin(axis=1), np.where(gap_T > _TIE, gap_T, 0.0)


def vote_triplets(
    distribution_NK: np.ndarray,
    label_N: np.ndarray,
    rows_N: np.ndarray,
    *,
    num_triplets: int,
    seed: Seed,
    min_gap: float = MIN_GAP,
    kinds: Sequence[TripletType] = tuple(TripletType),
    progress: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, int]]]:
    """Sample triplets balanced over the types and answer them by the vote distributions.

    Each type gets an equal share; the first types get the remainder. Candidates are sampled type by type: first labels,
    with probability proportional to the square root of their number of faces, so that rare classes are oversampled
    without their few faces filling the split; then faces, uniformly within the label. The order of the faces in a
    triplet is random. A set of three faces is a candidate once; it is kept where the distance of the second-closest
    pair exceeds that of the closest by more than ``min_gap``.

    Args:
        distribution_NK: share of the votes per class, shape (N, K), each row sums to 1.
        label_N: majority class 0..K-1, which decides the type, shape (N,).
        rows_N: distinct rows of faces.npy, shape (N,).
        num_triplets: T requested; fewer are returned where the faces do not yield them.
        seed: seed of all sampling.
        min_gap: in units of the distance, 0..2.
        kinds: types to sample; one-hot distributions (hard labels) answer two-class triplets only.
        progress: show a progress bar.

    Returns:
        The keywords of ``PackedWriter.add_triplets``, type after type: ``faces_T3``, ``odd_T``, ``type_T``, and
        ``votes_T3``, which is zero because the triplets themselves were not annotated. Then counts for those of
        ONE, TWO and THREE in ``kinds``: ``wanted``, ``candidates`` = ``kept`` + ``repeated`` (the set was a
        candidate before) + ``small_gap`` + ``surplus`` (passed after the type was full), and ``short`` = wanted − kept.
    """
    rng = np.random.default_rng(seed)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    counts: dict[str, dict[str, int]] = {}
    with tqdm(total=num_triplets, desc="triplets", unit="triplet", disable=not progress) as bar:
        for place, kind in enumerate(kinds):
            name, wanted = _TYPE_NAMES[kind], num_triplets // len(kinds) + (place < num_triplets % len(kinds))
            index_T3, odd_T, counts[name] = _of_type(distribution_NK, label_N, kind, wanted, rng, min_gap, bar)
            parts.append((index_T3, odd_T))
    odd_T = np.concatenate([odd for _, odd in parts])
    faces_T3 = np.asarray(rows_N)[np.concatenate([index for index, _ in parts])]
    type_T = np.repeat(list(kinds), [len(odd) for _, odd in parts])
    votes_T3 = np.zeros(faces_T3.shape, np.uint8)
    return {"faces_T3": faces_T3, "odd_T": odd_T, "type_T": type_T, "votes_T3": votes_T3}, counts


def _of_type(
    distribution_NK: np.ndarray,
    label_N: np.ndarray,
    kind: TripletType,
    wanted: int,
    rng: np.random.Generator,
    min_gap: float,
    bar: tqdm,
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Triplets of one type as indices into the N faces, shape (T, 3), their odd faces 0..2, and the counts."""
    known = np.empty(0, np.int64)
    index, odd = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    counts = dict.fromkeys(("wanted", "candidates", "kept", "repeated", "small_gap", "surplus"), 0) | {"wanted": wanted}
    for index_C3 in _rounds_of_candidates(label_N, kind, wanted, rng):
        counts["candidates"] += len(index_C3)
        known, index_C3 = _drop_repeated(known, index_C3, len(label_N))
        odd_C, gap_C = odd_and_gap(distribution_NK[index_C3])
        clear = np.flatnonzero(gap_C > min_gap + _TIE)
        taken = clear[: wanted - counts["kept"]]
        index.append(index_C3[taken])
        odd.append(odd_C[taken])
        counts["kept"] += len(taken)
        counts["small_gap"] += len(index_C3) - len(clear)
        counts["surplus"] += len(clear) - len(taken)
        bar.update(len(taken))
        if counts["kept"] == wanted:
            break
    counts["repeated"] = counts["candidates"] - counts["kept"] - counts["small_gap"] - counts["surplus"]
    counts["short"] = wanted - counts["kept"]
    return np.concatenate(index), np.concatenate(odd), counts


def _drop_repeated(known: np.ndarray, index_C3: np.ndarray, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Drop sets of three that are in ``known`` or repeated here; return the extended ``known`` and the new sets."""
    low_C, middle_C, high_C = np.sort(index_C3, axis=1).T
    key_C = (low_C * num_faces + middle_C) * num_faces + high_C  # fits into int64 for up to two million faces
    _, first = np.unique(key_C, return_index=True)
    first.sort()  # in sampling order, so that taking the first ones stays unbiased
    fresh = first[~np.isin(key_C[first], known)]
    return np.concatenate([known, key_C[fresh]]), index_C3[fresh]


def _rounds_of_candidates(
    label_N: np.ndarray, kind: TripletType, wanted: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Candidates of one type in rounds of 4 × wanted, ``CANDIDATES_PER_TRIPLET`` × wanted in all, shape (C, 3)."""
    count_K = np.bincount(label_N)
    order_N = np.argsort(label_N, kind="stable")
    first_K = np.cumsum(count_K) - count_K  # first index of each label in order_N
    num_labels = np.count_nonzero(count_K)
    possible = {
        TripletType.ONE_CLASS: (count_K >= 3).any(),
        TripletType.TWO_CLASS: (count_K >= 2).any() and num_labels >= 2,
        TripletType.THREE_CLASS: num_labels >= 3,
    }
    if wanted == 0 or not possible[kind]:
        return
    for _ in range(CANDIDATES_PER_TRIPLET // 4):
        label_C3 = _sample_labels(count_K, kind, 4 * wanted, rng)
        place_C3 = _sample_within_labels(count_K[label_C3], label_C3, rng)
        yield rng.permuted(order_N[first_K[label_C3] + place_C3], axis=1)


def _sample_labels(count_K: np.ndarray, kind: TripletType, num: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of ``num`` candidates, shape (C, 3), equal labels first."""
    with np.errstate(divide="ignore"):
        log_weight_K = 0.5 * np.log(count_K)  # √n; a label without faces gets −inf and is never sampled
    # Gumbel-max trick: the argmax of log-weights plus Gumbel noise is a weighted sample, the top three are one without
    # replacement.
    noise_CK = rng.gumbel(size=(num, len(count_K)))
    if kind is TripletType.THREE_CLASS:
        return np.argsort(-(log_weight_K + noise_CK), axis=1)[:, :3]
    needed = 3 if kind is TripletType.ONE_CLASS else 2
    shared_C = np.argmax(np.where(count_K >= needed, log_weight_K, -np.inf) + noise_CK, axis=1)
    if kind is TripletType.ONE_CLASS:
        return np.repeat(shared_C[:, None], 3, axis=1)
    noise_CK = rng.gumbel(size=noise_CK.shape)
    noise_CK[np.arange(num), shared_C] = -np.inf
    other_C = np.argmax(log_weight_K + noise_CK, axis=1)
    return np.stack([shared_C, shared_C, other_C], axis=1)


def _sample_within_labels(count_C3: np.ndarray, label_C3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices within the labels, shape (C, 3), without replacement: each skips the previous ones."""
    second_same = label_C3[:, 1] == label_C3[:, 0]
    third_same = label_C3[:, 2] == label_C3[:, 0]  # then all three labels are equal, see _sample_labels
    first = rng.integers(count_C3[:, 0])
    second = rng.integers(count_C3[:, 1] - second_same)
    second += second_same & (second >= first)
    third = rng.integers(count_C3[:, 2] - 2 * third_same)
    third += third_same & (third >= np.minimum(first, second))
    third += third_same & (third >= np.maximum(first, second))
    return np.stack([first, second, third], axis=1)


def split_half_agreement(
    votes_NK: np.ndarray,
    faces_T3: np.ndarray,
    odd_T: np.ndarray,
    type_T: np.ndarray,
    *,
    seed: Seed,
    repeats: int = 20,
    progress: bool = True,
) -> dict[str, dict[str, float | int | None]]:
    """Split-half agreement: how often one half of each face's annotators predicts the odd face of the other half.

    This is the human reference. In each repeat the n annotators of each face are split at random, without replacement:
    ⌊n/2⌋ predict, the rest are the reference; a face is split once per repeat, for all its triplets. The votes of each
    half give distributions, and the odd face is the one outside the closest pair. Where the closest pair ties in the
    reference half, the triplet is not counted in that repeat; a tie in the predicting half is wrong. The gap rule is
    not applied to the halves.
    The result is valid for triplets selected by the gap rule on all votes, which include both halves; on unselected
    triplets annotators would agree less.

    Args:
        votes_NK: number of votes per class, at least 2 for each face named in ``faces_T3``, shape (N, K).
        faces_T3: rows of ``votes_NK``, shape (T, 3).
        odd_T: the odd face by all votes, 0..2, shape (T,).
        type_T: ``TripletType``, shape (T,).
        seed: seed of the random halves.
        repeats: independent splits of the annotators; the counts below are sums over them.
        progress: show a bar.

    Returns:
        For ONE, TWO, THREE and ALL: ``correct`` of ``counted``, their ``percent`` (None where nothing counts),
        ``no_answer`` (with ``counted`` it makes triplets × repeats), and ``matches_all_votes``, how often the
        predicting half gives ``odd_T``, ties wrong, of triplets × repeats; ``odd_T`` includes its own votes.
    """
    rng = np.random.default_rng(seed)
    used_U, place = np.unique(faces_T3, return_inverse=True)
    assert (votes_NK[used_U].sum(axis=1) >= 2).all(), "a face with one annotator has no two halves"
    place_T3 = place.reshape(faces_T3.shape)
    tally_T3 = np.zeros((len(odd_T), 3), np.int64)  # per triplet: correct, counted, matches_all_votes
    for _ in tqdm(range(repeats), desc="split-half agreement", unit="split", disable=not progress):
        predictor_UK, reference_UK = _halve(votes_NK[used_U].astype(np.int64), rng)
        guess_T, guess_gap_T = odd_and_gap(_shares(predictor_UK)[place_T3])
        truth_T, truth_gap_T = odd_and_gap(_shares(reference_UK)[place_T3])
        counted_T, sure_T = truth_gap_T > 0, guess_gap_T > 0
        tally_T3 += np.stack([counted_T & sure_T & (guess_T == truth_T), counted_T, sure_T & (guess_T == odd_T)], 1)
    chosen = {name: type_T == kind for kind, name in _TYPE_NAMES.items()} | {"ALL": np.ones(len(odd_T), bool)}
    return {name: _agreement(tally_T3[mask_T], repeats) for name, mask_T in chosen.items()}


def _agreement(tally_T3: np.ndarray, repeats: int) -> dict[str, float | int | None]:
    correct, counted, matches = tally_T3.sum(axis=0).tolist()
    return {
        "percent": round(100 * correct / counted, 2) if counted else None,
        "correct": correct,
        "counted": counted,
        "no_answer": len(tally_T3) * repeats - counted,
        "matches_all_votes": matches,
    }


def _halve(votes_NK: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split the annotators of each face: ⌊n/2⌋ sampled without replacement, and the rest; vote counts (N, K)."""
    half_NK = np.zeros_like(votes_NK)
    others_N = votes_NK.sum(axis=1)  # votes of the classes still to be split
    missing_N = others_N // 2  # annotators the half still needs from them
    for k in range(votes_NK.shape[1]):
        others_N = others_N - votes_NK[:, k]
        half_NK[:, k] = rng.hypergeometric(votes_NK[:, k], others_N, missing_N)
        missing_N = missing_N - half_NK[:, k]
    return half_NK, votes_NK - half_NK


def _shares(votes_NK: np.ndarray) -> np.ndarray:
    return votes_NK / votes_NK.sum(axis=1, keepdims=True)
