"""Triplet accuracy: how often an embedding picks the same odd face as the annotators, per triplet type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fecnet.evaluation.spread import Spread
from fecnet.structures import TripletType, opposite_distances
from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

ROWS = ("ONE", "TWO", "THREE", "ALL")
_CHUNK = 1 << 18  # triplets per chunk: about 50 MB at 16 dimensions


@dataclass(frozen=True)
class TripletAccuracy:
    """Counts by triplet type.

    Attributes:
        right: triplets whose odd face agrees with the annotators', for ONE, TWO, THREE.
        total: all triplets.
        spread: of the faces in the embedding; None without an embedding or triplets.
    """

    right: tuple[int, int, int]
    total: tuple[int, int, int]
    spread: Spread | None = None

    def counts(self, row: str) -> tuple[int, int]:
        """Correct triplets and all triplets of a row of ``ROWS``."""
        if row == "ALL":
            return sum(self.right), sum(self.total)
        return self.right[ROWS.index(row)], self.total[ROWS.index(row)]

    def percent(self, row: str = "ALL") -> float:
        """Accuracy of a row of ``ROWS``, %; NaN where there is no triplet, or the embedding has collapsed."""
        right, total = self.counts(row)
        return 100 * right / total if total and not self.warning() else float("nan")

    def metrics(self) -> dict[str, float | None]:
        """Accuracy by row of ``ROWS``, %; None where ``percent`` is NaN."""
        return {row: table["percent"] for row, table in self.to_dict().items()}

    def warning(self) -> str:
        """Why the counts mean nothing: the embedding has collapsed; empty where they do mean something."""
        return self.spread.text() if self.spread is not None and self.spread.collapsed else ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``{"ONE": {"right": …, "total": …, "percent": …}, …}``."""
        table = {}
        for row in ROWS:
            (right, total), percent = self.counts(row), self.percent(row)
            table[row] = {"right": right, "total": total, "percent": None if isnan(percent) else round(percent, 4)}
        return table


def is_correct(opposite_B3: Tensor, odd_B: Tensor) -> Tensor:
    """Whether the two other faces are strictly the closest pair; a tie is wrong.

    Args:
        opposite_B3: ``opposite_distances``, shape (B, 3).
        odd_B: the annotators' odd face, 0..2, int64, shape (B,).

    Returns:
        bool, shape (B,).
    """
    closest_B1 = opposite_B3.gather(1, odd_B[:, None])
    return (closest_B1 < opposite_B3).sum(1) == 2


def triplet_accuracy(
    embedding_ND: Tensor, faces_T3: np.ndarray, odd_T: np.ndarray, type_T: np.ndarray
) -> TripletAccuracy:
    """Count correct triplets by type.

    Args:
        embedding_ND: float, shape (N, D).
        faces_T3: index into the N faces, shape (T, 3).
        odd_T: the annotators' odd face, 0..2, shape (T,).
        type_T: ``TripletType``, shape (T,).

    Raises:
        UserError: an embedding is not finite.
    """
    finite_N = torch.isfinite(embedding_ND).all(1)
    if not bool(finite_N.all()):
        raise UserError(f"the embedding of face {int((~finite_N).nonzero()[0])} is not finite")
    right, total = np.zeros(3, np.int64), np.zeros(3, np.int64)
    distance_sum, largest = 0.0, 0.0
    for first in range(0, len(odd_T), _CHUNK):
        part = slice(first, first + _CHUNK)
        faces_B3, odd_B = (torch.from_numpy(array[part].astype(np.int64)) for array in (faces_T3, odd_T))
        opposite_B3 = opposite_distances(embedding_ND[faces_B3])
        right_B = is_correct(opposite_B3, odd_B).numpy()
        distance_sum += float(opposite_B3.sum(dtype=torch.float64))
        largest = max(largest, float(opposite_B3.max()))
        total += np.bincount(type_T[part], minlength=len(TripletType))
        right += np.bincount(type_T[part][right_B], minlength=len(TripletType))
    spread = Spread(distance_sum / (3 * len(odd_T)), largest) if len(odd_T) else None
    return TripletAccuracy(tuple(right.tolist()), tuple(total.tolist()), spread)  # type: ignore[arg-type]


def format_table(columns: Mapping[str, TripletAccuracy]) -> str:
    """The ONE/TWO/THREE/ALL table as text, a row per name, with the counts of triplets.

    Below it are the spread of the first embedding and a line for each of the others that has collapsed.

    Args:
        columns: accuracies by name, all over the same triplets.
    """
    first = next(iter(columns.values()))
    percent = [[name, *(_decimal(accuracy.percent(row)) for row in ROWS)] for name, accuracy in columns.items()]
    table = align_columns([["", *ROWS], *percent, ["triplets", *(first.counts(row)[1] or "-" for row in ROWS)]])
    notes = [f"{name}: {warning}" for name, accuracy in columns.items() if (warning := accuracy.warning())]
    if first.spread is not None and not first.warning():
        notes.insert(0, first.spread.text())
    return "\n".join([table, *notes])


def _decimal(percent: float) -> str:
    return "-" if isnan(percent) else f"{percent:.1f}"
