"""Near ties: decisions of an evaluation that rounding can change, so that its counts may differ elsewhere.

No bound known in advance of the rounding errors of a deep net is of use, so they are measured on faces of the
evaluation (``largest_move``). What follows from them for distances and decisions is exact. Shape suffixes: N faces,
T triplets, D embedding dimensions, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_UNIT = 2.0**-24  # a float32 result differs from the exact one by at most this part of it
LEAST_MOVE = 256 * _UNIT  # that rounding is always allowed: the same for almost all nets, so that counts compare
_TYPES = ("ONE", "TWO", "THREE")
_UNSEEN = 8  # the most that a face may move, in units of the most of some thirty faces


@dataclass(frozen=True)
class NearTies:
    """How many decisions of a split rounding can change.

    Attributes:
        near: decisions that can change, the exact ties among them.
        exact: ties as they were computed.
        total: all decisions.
        move: the most by which rounding may move an output, relative to its length; unit vectors have length 1.
        by_type: ``near`` of ONE, TWO and THREE; None for faces.
    """

    near: int
    exact: int
    total: int
    move: float
    by_type: tuple[int, int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; ``near_ties_text`` reads it."""
        found = {"near": self.near, "exact": self.exact, "total": self.total, "move": self.move}
        return found | ({} if self.by_type is None else dict(zip(_TYPES, self.by_type, strict=True)))

    def text(self) -> str:
        """One line."""
        return near_ties_text(self.to_dict())


def near_ties_text(found: Mapping[str, Any]) -> str:
    """One line of the near ties of a split, as ``NearTies.to_dict`` gives them."""
    elsewhere = "with other batch sizes, threads, processes or machines"
    what = "triplets" if found.get("ONE") is not None else "faces"
    if not found["near"]:
        return f"near ties: none of {found['total']:,} {what}, so the counts are the same {elsewhere}"
    parts = [f"{name} {found[name]:,}" for name in _TYPES if what == "triplets"] + [f"exact {found['exact']:,}"]
    return (
        f"near ties: {found['near']:,} of {found['total']:,} {what} ({', '.join(parts)}): the counts may differ by "
        f"up to that many {elsewhere}"
    )


def largest_move(one_NX: Tensor, other_NX: Tensor) -> float:
    """The most by which rounding may move an output of any face, relative to its length.

    Args:
        one_NX: an output of some thirty faces, shape (N, X).
        other_NX: the same computed in another way, which rounds otherwise.

    Returns:
        Eight times the largest difference between the two, since other faces may move more; ``LEAST_MOVE`` or more.
    """
    one_NX, other_NX = one_NX.double().flatten(1), other_NX.double().flatten(1)
    length_N = one_NX.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    return max(LEAST_MOVE, _UNSEEN * float(((one_NX - other_NX).norm(dim=1) / length_N).max()))


def near_triplets(opposite_T3: Tensor, odd_T: np.ndarray, dim: int, move: float) -> tuple[np.ndarray, np.ndarray]:
    """Which triplets may be right in one evaluation and wrong in another.

    Where each of a, p, n moves by at most e, |a − n|² − |a − p|² changes by at most 2e(|ap| + |an| + |pn|) + 4e², and
    so does the lead, the smaller of d(a,n) and d(p,n) minus d(a,p). To it is added what two sums of squares round.

    Args:
        opposite_T3: squared distances of unit vectors, as of ``triplet_distances``.
        odd_T: the annotators' odd face, 0..2, shape (T,).
        dim: embedding dimensions.
        move: see ``largest_move``.

    Returns:
        Which triplets, and which of them are exact ties of the closest pair with the annotators'; bool, shape (T,).
    """
    distance_T3 = opposite_T3.double().numpy()
    odd_T1 = odd_T.astype(np.int64)[:, None]
    others_T3 = distance_T3.copy()
    np.put_along_axis(others_T3, odd_T1, np.inf, 1)
    lead_T = others_T3.min(1) - np.take_along_axis(distance_T3, odd_T1, 1)[:, 0]
    perimeter_T = np.sqrt(distance_T3).sum(1)
    rounded_T = 2 * (dim + 2) * _UNIT * distance_T3.sum(1)
    return np.abs(lead_T) <= 2 * move * perimeter_T + 4 * move**2 + rounded_T, lead_T == 0


def triplet_ties(opposite_T3: Tensor, odd_T: np.ndarray, type_T: np.ndarray, dim: int, move: float) -> NearTies:
    """The near ties of a split, by ``TripletType``; the arguments are those of ``near_triplets``."""
    near_T, exact_T = near_triplets(opposite_T3, odd_T, dim, move)
    one, two, three = np.bincount(type_T[near_T], minlength=3)[:3].tolist()
    return NearTies(int(near_T.sum()), int(exact_T.sum()), len(odd_T), move, (one, two, three))


def class_ties(logits_NK: Tensor, label_N: np.ndarray, move: float) -> NearTies:
    """The labelled faces whose class may be another one elsewhere.

    Where the logits move by e as a vector, the difference of two of them changes by at most √2·e.

    Args:
        logits_NK: two classes or more, shape (N, K).
        label_N: -1 = unknown.
        move: see ``largest_move``.
    """
    logits_NK = logits_NK[torch.from_numpy(label_N >= 0)].double()
    best_N2 = logits_NK.topk(2, dim=1).values
    lead_N = best_N2[:, 0] - best_N2[:, 1]
    near_N = lead_N <= 2**0.5 * move * logits_NK.norm(dim=1)
    return NearTies(int(near_N.sum()), int((lead_N == 0).sum()), len(lead_N), move)
