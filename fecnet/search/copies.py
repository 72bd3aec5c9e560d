"""Identical vectors, such as those of still videos and photos stored twice: only one of them is indexed.

Shape suffixes: N vectors, U distinct ones, Q queries, R candidates, K nearest, P pairs, D numbers of each vector.
"""

from __future__ import annotations

import numpy as np

from fecnet.evaluation.nearest import Found, rank_pairs


class Copies:
    """Groups of identical vectors.

    Args:
        vector_ND: float32, shape (N, D).

    Attributes:
        first_U: the first row of each distinct vector, increasing, shape (U,).
        count_U: how often each occurs, shape (U,).
    """

    def __init__(self, vector_ND: np.ndarray) -> None:
        values_ND = np.asarray(vector_ND) + np.float32(0)  # −0 becomes 0, which equals it
        _, first_U, inverse_N = np.unique(
            values_ND.view(np.dtype((np.void, values_ND.dtype.itemsize * values_ND.shape[1]))).ravel(),
            return_index=True,
            return_inverse=True,
        )
        order_U = np.argsort(first_U)
        distinct_N = np.argsort(order_U)[inverse_N]
        self.first_U = first_U[order_U]
        self.count_U = np.bincount(distinct_N)
        self._row_N = np.argsort(distinct_N, kind="stable")  # the rows of each distinct vector, increasing
        self._begin_U = np.cumsum(self.count_U) - self.count_U

    def nearest(self, vector_ND: np.ndarray, query_QD: np.ndarray, distinct_QR: np.ndarray, num: int) -> Found:
        """The nearest among some distinct vectors and all copies of them.

        Args:
            vector_ND: all vectors, shape (N, D).
            query_QD: float32, shape (Q, D).
            distinct_QR: candidates of each query, indices into the U distinct vectors, shape (Q, R).
            num: K; the candidates of each query must occur at least this often in total.
        """
        shape = distinct_QR.shape
        query_P = np.repeat(np.arange(shape[0]), shape[1])
        ranked = rank_pairs(vector_ND, query_QD, query_P, self.first_U[distinct_QR.ravel()], shape[1])
        distinct_P = np.searchsorted(self.first_U, ranked.row_P)
        count_P = np.minimum(self.count_U[distinct_P], num)
        # copies beyond the first K are not expanded: a still video has thousands
        enough_QR = count_P.reshape(shape).cumsum(1) >= num
        limit_Q = np.take_along_axis(ranked.distance_P.reshape(shape), enough_QR.argmax(1)[:, None], 1)[:, 0]
        within_P = ranked.distance_P <= limit_Q[query_P]
        return rank_pairs(
            vector_ND,
            query_QD,
            np.repeat(query_P[within_P], count_P[within_P]),
            self._rows(distinct_P[within_P], count_P[within_P]),
            num,
        ).found(len(query_QD), num)

    def _rows(self, distinct_P: np.ndarray, count_P: np.ndarray) -> np.ndarray:
        """The first ``count_P`` rows of each distinct vector, one after another."""
        place = np.arange(count_P.sum()) - np.repeat(np.cumsum(count_P) - count_P, count_P)
        return self._row_N[np.repeat(self._begin_U[distinct_P], count_P) + place]
