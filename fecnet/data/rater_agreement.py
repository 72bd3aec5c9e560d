"""How well raters of triplets agree with each other: the human reference of triplet accuracy.

Shape suffixes: T triplets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from textwrap import indent
from typing import Any

import numpy as np

from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.structures import TripletType
from fecnet.utils.table import align_columns

_ROWS = {"ONE": TripletType.ONE_CLASS, "TWO": TripletType.TWO_CLASS, "THREE": TripletType.THREE_CLASS}
_REPEATS = 20

Agreement = dict[str, dict[str, Any]]  # correct, counted and percent by ONE, TWO, THREE, ALL


def split_half_agreements(dataset: PackedDataset, splits: Collection[str] | None = None) -> dict[str, Agreement]:
    """Split-half agreement of the splits that have votes of raters.

    Where triplets were made from votes on single faces, it is the value recorded by ``fecnet.prepare.votes``. Otherwise
    it is computed from the votes of each triplet, see ``split_half``.

    Args:
        dataset: the packed data set.
        splits: only these; None for all.

    Raises:
        DataError: a file of triplets is unreadable.
    """
    recorded = dataset.coverage.get("split_half_agreement", {})
    found = {}
    for split, parts in dataset.description["splits"].items():
        if splits is not None and split not in splits:
            continue
        if split in recorded:
            found[split] = recorded[split]
        elif "triplets" in parts:
            table = dataset.triplets(split)
            if (table.votes_T3.sum(axis=1, dtype=np.int64) > 1).any():
                found[split] = split_half(table)
    return found


def split_half(table: TripletTable, *, seed: int = 0, repeats: int = _REPEATS) -> Agreement:
    """How often one half of the raters of a triplet chooses the odd face of the other half.

    In each repeat the n ≥ 2 raters of each triplet are split at random: ⌊n/2⌋ predict, the rest are the reference. A
    triplet whose reference half ties is not counted in that repeat; a tie in the predicting half is wrong.

    Args:
        table: the triplets with their votes; those with fewer than two raters are left out.
        seed: seed of the random halves.
        repeats: independent splits of the raters; the counts are sums over them.

    Returns:
        By type: ``percent`` (None where nothing is counted), ``correct``, ``counted``.
    """
    rng = np.random.default_rng(seed)
    votes_T3 = table.votes_T3.astype(np.int64)
    rated_T = votes_T3.sum(axis=1) > 1
    votes_T3, type_T = votes_T3[rated_T], table.type_T[rated_T]
    correct_T, counted_T = np.zeros((2, len(votes_T3)), np.int64)
    for _ in range(repeats):
        half_T3 = _half(votes_T3, rng)
        guess_T, guess_ties_T = _choice(half_T3)
        truth_T, truth_ties_T = _choice(votes_T3 - half_T3)
        counted_T += ~truth_ties_T
        correct_T += ~truth_ties_T & ~guess_ties_T & (guess_T == truth_T)
    masks = {name: type_T == kind for name, kind in _ROWS.items()} | {"ALL": np.ones(len(type_T), bool)}
    return {name: _counts(int(correct_T[mask].sum()), int(counted_T[mask].sum())) for name, mask in masks.items()}


def _half(votes_T3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The votes of ⌊n/2⌋ raters of each triplet, chosen without replacement."""
    first_T, second_T, third_T = votes_T3.T
    size_T = votes_T3.sum(axis=1) // 2
    of_first_T = rng.hypergeometric(first_T, second_T + third_T, size_T)
    of_second_T = rng.hypergeometric(second_T, third_T, size_T - of_first_T)
    return np.stack([of_first_T, of_second_T, size_T - of_first_T - of_second_T], axis=1)


def _choice(votes_T3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face with most votes, and whether another one has as many."""
    return votes_T3.argmax(axis=1), (votes_T3 == votes_T3.max(axis=1, keepdims=True)).sum(axis=1) > 1


def _counts(correct: int, counted: int) -> dict[str, Any]:
    return {"percent": round(100 * correct / counted, 2) if counted else None, "correct": correct, "counted": counted}


def format_agreements(found: Mapping[str, Agreement]) -> str:
    """A table in %, a row per split; a dash for a type without triplets of several raters."""
    rows = [["split", *_ROWS, "ALL"]]
    for split, by_type in found.items():
        percents = [by_type[name]["percent"] for name in (*_ROWS, "ALL")]
        rows.append([split, *("-" if percent is None else f"{percent:.1f}" for percent in percents)])
    return f"split-half agreement of raters, %\n{indent(align_columns(rows), '  ')}"
