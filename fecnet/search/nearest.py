"""Exhaustive nearest-neighbour search in torch, and re-ranking of candidates by exact distance.

Shape suffixes: N vectors of the index, Q queries, K nearest, R candidates, D numbers of each vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

_QUERIES, _ROWS = 256, 8192  # block size: 8 MB of distances, whatever the size of the index


class Found(NamedTuple):
    """The nearest vectors of some queries, the nearest first; ties by the lower row.

    Attributes:
        row_QK: of the index, int64.
        distance_QK: squared Euclidean, float32.
    """

    row_QK: np.ndarray
    distance_QK: np.ndarray


def exact_rows(vector_ND: np.ndarray, query_QD: np.ndarray, num: int, device: torch.device) -> np.ndarray:
    """The rows of the nearest vectors, int64, shape (Q, num), in no particular order.

    Args:
        vector_ND: float32; may be a memory map, of which a block at a time is read.
        query_QD: float32.
        num: K, at most N.
        device: where to compute.
    """
    parts = [query_QD[first : first + _QUERIES] for first in range(0, len(query_QD), _QUERIES)]
    return np.concatenate([_rows_of_some(vector_ND, part, num, device) for part in parts])


@torch.inference_mode()
def _rows_of_some(vector_ND: np.ndarray, query_QD: np.ndarray, num: int, device: torch.device) -> np.ndarray:
    query = torch.tensor(query_QD, device=device)
    best = torch.empty(len(query), 0, device=device)
    rows = torch.empty(len(query), 0, dtype=torch.int64, device=device)
    for first in range(0, len(vector_ND), _ROWS):
        some = torch.tensor(vector_ND[first : first + _ROWS], device=device)
        # without the query's squared norm, which is constant
        distance = torch.addmm(some.square().sum(1), query, some.T, alpha=-2)
        near = distance.topk(min(num, len(some)), largest=False)
        best, rows = torch.cat([best, near.values], 1), torch.cat([rows, near.indices + first], 1)
        best, kept = best.topk(min(num, best.shape[1]), largest=False)
        rows = rows.gather(1, kept)
    return rows.cpu().numpy()


def nearest_of(vector_ND: np.ndarray, query_QD: np.ndarray, row_QR: np.ndarray, num: int) -> Found:
    """Re-rank candidates by distances computed from differences: identical for every kind of index.

    Libraries compute |a|² + |b|² − 2ab, which rounds distances near 0, or compare compressed vectors.

    Args:
        vector_ND: float32.
        query_QD: float32.
        row_QR: candidates of each query.
        num: K, at most R.
    """
    distance_QR = np.square(vector_ND[row_QR] - query_QD[:, None]).sum(2)
    order_QK = np.lexsort((row_QR, distance_QR))[:, :num]
    return Found(np.take_along_axis(row_QR, order_QK, 1), np.take_along_axis(distance_QR, order_QK, 1))
