"""Triplet accuracy: how often an embedding finds the raters' odd face, by type and by their agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fecnet.evaluation.spread import Spread
from fecnet.structures import opposite_distances
from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

ROWS = ("ONE", "TWO", "THREE", "ALL")
AGREEMENT_ROWS = (">=5/6", ">=4/6", "<4/6")  # share of raters who chose the odd face; each excludes the previous ones
AGREEMENT_TEXT = (
    f"{', '.join(AGREEMENT_ROWS)}: by the share of raters who chose the odd face, of triplets of two raters or more"
)
_CHUNK = 1 << 18  # triplets per chunk: about 50 MB at 16 dimensions


@dataclass(frozen=True)
class TripletAccuracy:
    """Counts by triplet type.

    Attributes:
        right: triplets whose odd face is that of the raters, for ONE, TWO, THREE.
        total: all triplets.
        spread: distances of the faces in the embedding; None without an embedding or triplets.
        right_by_agreement: as ``right``, for ``AGREEMENT_ROWS``; triplets of two raters or more.
        total_by_agreement: all such triplets.
    """

    right: tuple[int, int, int]
    total: tuple[int, int, int]
    spread: Spread | None = None
    right_by_agreement: tuple[int, int, int] = (0, 0, 0)
    total_by_agreement: tuple[int, int, int] = (0, 0, 0)

    @property
    def rows(self) -> tuple[str, ...]:
        """``ROWS``, and ``AGREEMENT_ROWS`` where a triplet has the votes of several raters."""
        return ROWS + (AGREEMENT_ROWS if any(self.total_by_agreement) else ())

    def counts(self, row: str) -> tuple[int, int]:
        """Correct triplets and all triplets of a row of ``ROWS`` or ``AGREEMENT_ROWS``."""
        if row == "ALL":
            return sum(self.right), sum(self.total)
        if row in AGREEMENT_ROWS:
            level = AGREEMENT_ROWS.index(row)
            return self.right_by_agreement[level], self.total_by_agreement[level]
        return self.right[ROWS.index(row)], self.total[ROWS.index(row)]

    def percent(self, row: str = "ALL") -> float:
        """Accuracy of a row, %; NaN where there is no triplet, or the embedding has collapsed."""
        right, total = self.counts(row)
        return 100 * right / total if total and not self.warning() else float("nan")

    def metrics(self) -> dict[str, float | None]:
        """Accuracy by row of ``ROWS``, %; None where ``percent`` is NaN."""
        table = self.to_dict()
        return {row: table[row]["percent"] for row in ROWS}

    def warning(self) -> str:
        """Why the counts are meaningless, namely a collapsed embedding; else empty."""
        return self.spread.text() if self.spread is not None and self.spread.collapsed else ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``{"ONE": {"right": …, "total": …, "percent": …}, …}``, of ``rows``."""
        table = {}
        for row in self.rows:
            (right, total), percent = self.counts(row), self.percent(row)
            table[row] = {"right": right, "total": total, "percent": None if isnan(percent) else round(percent, 4)}
        return table


def is_correct(opposite_B3: Tensor, odd_B: Tensor) -> Tensor:
    """Whether the two other faces are strictly the closest pair; a tie is wrong.

    Args:
        opposite_B3: ``opposite_distances``, shape (B, 3).
        odd_B: the raters' odd face, 0..2, int64, shape (B,).

    Returns:
        bool, shape (B,).
    """
    closest_B1 = opposite_B3.gather(1, odd_B[:, None])
    return (closest_B1 < opposite_B3).sum(1) == 2


def agreement_levels(votes_T3: np.ndarray, odd_T: np.ndarray) -> np.ndarray:
    """The row of ``AGREEMENT_ROWS`` of each triplet; 3 for those of fewer than two raters.

    Args:
        votes_T3: raters who chose face k, zeros without votes, shape (T, 3).
        odd_T: the odd face, 0..2, shape (T,).

    Returns:
        int64, shape (T,).
    """
    total_T = votes_T3.sum(1, dtype=np.int64)
    agree_T = np.take_along_axis(votes_T3, odd_T[:, None].astype(np.int64), 1)[:, 0].astype(np.int64)
    level_T = 2 - (6 * agree_T >= 4 * total_T).astype(np.int64) - (6 * agree_T >= 5 * total_T)
    return np.where(total_T > 1, level_T, 3)


def triplet_distances(embedding_ND: Tensor, faces_T3: np.ndarray) -> Tensor:
    """``opposite_distances`` of triplets, a chunk at a time, shape (T, 3).

    Args:
        embedding_ND: float, shape (N, D).
        faces_T3: index into the N faces, shape (T, 3).

    Raises:
        UserError: an embedding is not finite.
    """
    finite_N = torch.isfinite(embedding_ND).all(1)
    if not bool(finite_N.all()):
        raise UserError(f"the embedding of face {int((~finite_N).nonzero()[0])} is not finite")
    opposite_T3 = torch.empty(len(faces_T3), 3, dtype=embedding_ND.dtype)
    for first in range(0, len(faces_T3), _CHUNK):
        part = slice(first, first + _CHUNK)
        opposite_T3[part] = opposite_distances(embedding_ND[torch.from_numpy(faces_T3[part].astype(np.int64))])
    return opposite_T3


def triplet_accuracy(
    embedding_ND: Tensor,
    faces_T3: np.ndarray,
    odd_T: np.ndarray,
    type_T: np.ndarray,
    votes_T3: np.ndarray | None = None,
) -> TripletAccuracy:
    """Count correct triplets by type, and by the agreement of their raters.

    Args:
        embedding_ND: float, shape (N, D).
        faces_T3: index into the N faces, shape (T, 3).
        odd_T: the raters' odd face, 0..2, shape (T,).
        type_T: ``TripletType``, shape (T,).
        votes_T3: raters who chose face k, zeros without votes, shape (T, 3); or None.

    Raises:
        UserError: an embedding is not finite.
    """
    opposite_T3 = triplet_distances(embedding_ND, faces_T3)
    right_T = is_correct(opposite_T3, torch.from_numpy(odd_T.astype(np.int64))).numpy()
    right, total = _counted(right_T, type_T)
    spread = None
    if len(odd_T):
        spread = Spread(float(opposite_T3.sum(dtype=torch.float64)) / (3 * len(odd_T)), float(opposite_T3.max()))
    if votes_T3 is None:
        return TripletAccuracy(right, total, spread)
    return TripletAccuracy(right, total, spread, *_counted(right_T, agreement_levels(votes_T3, odd_T)))


def _counted(right_T: np.ndarray, kind_T: np.ndarray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Correct triplets and all triplets of each kind 0..2."""
    right, total = (np.bincount(some, minlength=3)[:3].tolist() for some in (kind_T[right_T], kind_T))
    return tuple(right), tuple(total)


def format_table(columns: Mapping[str, TripletAccuracy]) -> str:
    """The ONE/TWO/THREE/ALL table as text, a row per name, with the counts of triplets.

    Further columns are for ``AGREEMENT_ROWS`` where triplets have votes. Below it are the spread of the first embedding
    and a line for each of the others that has collapsed.

    Args:
        columns: accuracies by name, all over the same triplets.
    """
    first = next(iter(columns.values()))
    rows = first.rows
    percent = [[name, *(_decimal(accuracy.percent(row)) for row in rows)] for name, accuracy in columns.items()]
    table = align_columns([["", *rows], *percent, ["triplets", *(first.counts(row)[1] or "-" for row in rows)]])
    notes = [f"{name}: {warning}" for name, accuracy in columns.items() if (warning := accuracy.warning())]
    if first.spread is not None and not first.warning():
        notes.insert(0, first.spread.text())
    if len(rows) > len(ROWS):
        notes.append(AGREEMENT_TEXT)
    return "\n".join([table, *notes])


def _decimal(percent: float) -> str:
    return "-" if isnan(percent) else f"{percent:.1f}"
