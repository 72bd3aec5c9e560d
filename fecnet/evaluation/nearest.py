"""Exact nearest neighbours, by distances computed from differences in float64; all searches use this module.

Libraries compute |a|² + |b|² − 2ab for speed. That rounds distances near 0 to noise, so near-copies are returned in an
arbitrary order. Here the product only excludes vectors that are too far even with its largest rounding error; the
distances of all others are computed by subtraction, on the CPU. Results thus depend neither on the device nor on which
queries are processed together.

Shape suffixes: N vectors, Q queries, K nearest, P pairs of a query and a vector, D numbers of each vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from fecnet.utils.env import exact_float32

_QUERIES, _ROWS = 256, 8192  # block size: 8 MB of products, whatever the number of vectors
_FLOAT32 = torch.finfo(torch.float32)
_NUMBERS = 1 << 21  # differences at a time: 16 MB


class Found(NamedTuple):
    """The nearest vectors of some queries, the nearest first; ties by the lower row.

    Attributes:
        row_QK: rows of the vectors, int64, shape (Q, K).
        distance_QK: squared Euclidean distances, float32, shape (Q, K).
    """

    row_QK: np.ndarray
    distance_QK: np.ndarray


class Pairs(NamedTuple):
    """Pairs of a query and a vector, by query, then distance, then row.

    Attributes:
        query_P: index of the query, int64, shape (P,).
        row_P: row of the vector, int64, shape (P,).
        distance_P: squared Euclidean distance, float64, shape (P,).
    """

    query_P: np.ndarray
    row_P: np.ndarray
    distance_P: np.ndarray

    def found(self, num_queries: int, num: int) -> Found:
        """As a table; every query must have ``num`` pairs."""
        row_QK, distance_QK = (part.reshape(num_queries, num) for part in (self.row_P, self.distance_P))
        return Found(row_QK, distance_QK.astype(np.float32))


def squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances of vectors along the last axis, which broadcast against each other, float64."""
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return np.square(difference, out=difference).sum(-1)


def all_distances(vector_ND: np.ndarray, query_QD: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of each vector to each query, float64, shape (Q, N)."""
    distance_QN = np.empty((len(query_QD), len(vector_ND)))
    step = max(1, _NUMBERS // max(1, query_QD.size))
    for first in range(0, len(vector_ND), step):
        distance_QN[:, first : first + step] = squared_distances(vector_ND[first : first + step], query_QD[:, None])
    return distance_QN


def nearest(vector_ND: np.ndarray, query_QD: np.ndarray, num: int, device: torch.device | None = None) -> Found:
    """The nearest vectors of each query, by exhaustive search.

    Args:
        vector_ND: finite, float32, shape (N, D); may be a memory map, which is read in blocks.
        query_QD: finite, float32, shape (Q, D).
        num: K, at most N.
        device: where the products are computed; None for the CPU.
    """
    device = device or torch.device("cpu")
    parts = [query_QD[first : first + _QUERIES] for first in range(0, max(1, len(query_QD)), _QUERIES)]
    found = [_nearest_of_some(vector_ND, part_QD, num, device).found(len(part_QD), num) for part_QD in parts]
    return Found(*map(np.concatenate, zip(*found, strict=True)))


def rank_pairs(vector_ND: np.ndarray, query_QD: np.ndarray, query_P: np.ndarray, row_P: np.ndarray, num: int) -> Pairs:
    """The nearest of given candidates.

    Args:
        vector_ND: float32, shape (N, D).
        query_QD: float32, shape (Q, D).
        query_P: index of the query of each pair, shape (P,).
        row_P: row of the candidate of each pair, shape (P,).
        num: K; all candidates of a query are returned if there are fewer.
    """
    distance_P = np.empty(len(row_P))
    step = max(1, _NUMBERS // vector_ND.shape[1])
    for first in range(0, len(row_P), step):
        part = slice(first, first + step)
        distance_P[part] = squared_distances(vector_ND[row_P[part]], query_QD[query_P[part]])
    return _first_of_each(Pairs(query_P, row_P, distance_P), len(query_QD), num)


def _first_of_each(pairs: Pairs, num_queries: int, num: int) -> Pairs:
    """Sort the pairs and keep the ``num`` nearest of each query."""
    order_P = np.lexsort((pairs.row_P, pairs.distance_P, pairs.query_P))
    counts_Q = np.bincount(pairs.query_P, minlength=num_queries)
    rank_P = np.arange(len(order_P)) - np.repeat(np.cumsum(counts_Q) - counts_Q, counts_Q)
    return Pairs(*(part[order_P[rank_P < num]] for part in pairs))


@torch.inference_mode()
def _nearest_of_some(vector_ND: np.ndarray, query_QD: np.ndarray, num: int, device: torch.device) -> Pairs:
    best = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    query = torch.tensor(query_QD, device=device)
    for first in range(0, len(vector_ND), _ROWS):
        some = np.asarray(vector_ND[first : first + _ROWS])
        query_P, row_P = _candidates(some, query, _limits(best, len(query_QD), num), num)
        near = rank_pairs(some, query_QD, query_P, row_P, num)
        near = near._replace(row_P=near.row_P + first)
        best = _first_of_each(Pairs(*map(np.concatenate, zip(best, near, strict=True))), len(query_QD), num)
    return best


def _limits(best: Pairs, num_queries: int, num: int) -> np.ndarray:
    """Distance of the ``num``-th nearest vector so far, infinite where there are fewer, float64, shape (Q,)."""
    counts_Q = np.bincount(best.query_P, minlength=num_queries)
    limit_Q = np.full(num_queries, np.inf)
    full_Q = counts_Q == num
    limit_Q[full_Q] = best.distance_P[(np.cumsum(counts_Q) - 1)[full_Q]]
    return limit_Q


def _candidates(
    some_ND: np.ndarray, query_QD: torch.Tensor, limit_Q: np.ndarray, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of query and row whose distance may be within the limits, or among the ``num`` smallest."""
    some = torch.tensor(some_ND, device=query_QD.device)
    square_N, square_Q = some.double().square().sum(1), query_QD.double().square().sum(1)
    with exact_float32():
        product_QN = torch.addmm(square_N.float(), query_QD, some.T, alpha=-2)  # the distance less the query's square
    largest = square_N.max().sqrt()
    # each of the D + 2 roundings is at most eps / 2 of the largest sum of magnitudes: twice the bound of the error
    magnitude_Q = largest.square() + 2 * square_Q.sqrt() * largest
    error_Q = (some.shape[1] + 4) * (_FLOAT32.eps * magnitude_Q + _FLOAT32.tiny)
    limit = torch.from_numpy(limit_Q).to(query_QD.device) - square_Q
    if num <= len(some) and not np.isfinite(limit_Q).all():
        limit = limit.minimum(product_QN.topk(num, largest=False).values[:, -1].double() + error_Q)
    limit[magnitude_Q > _FLOAT32.max] = torch.inf  # products may have overflowed: no vector is excluded
    beyond_QN = product_QN > (limit + error_Q).float()[:, None]
    query_P, row_P = (~beyond_QN).nonzero(as_tuple=True)
    return query_P.cpu().numpy(), row_P.cpu().numpy()
