"""Comparing with every vector, block by block, against a loop; distances that do not round near zero."""

import numpy as np
import pytest
import torch

from fecnet.search import nearest
from fecnet.search.nearest import exact_rows, nearest_of


def naive(vectors, query, num):
    distances = [float(np.square(vector - query, dtype=np.float64).sum()) for vector in vectors]
    return sorted(range(len(vectors)), key=lambda row: (distances[row], row))[:num]


@pytest.mark.parametrize("num", [1, 5, 33, 50])
def test_blocks_find_what_a_loop_finds(monkeypatch, num):
    """50 vectors in blocks of 7, also where a block holds fewer than are asked for."""
    monkeypatch.setattr(nearest, "_ROWS", 7)
    monkeypatch.setattr(nearest, "_QUERIES", 3)
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    rows = exact_rows(vectors, queries, num, torch.device("cpu"))
    found = nearest_of(vectors, queries, rows, num)
    assert found.row_QK.tolist() == [naive(vectors, query, num) for query in queries]


def test_near_and_equal_vectors_keep_their_distance_and_order():
    """|a|² + |b|² − 2ab would say about 1e-7 for equal vectors, and put these in any order."""
    base = np.full(16, 0.25, np.float32)
    step = np.zeros(16, np.float32)
    step[0] = 2e-4
    vectors = np.stack([base + 2 * step, base, base + step, base])
    found = nearest_of(vectors, base[None], np.array([[0, 3, 2, 1]]), 3)
    assert found.row_QK.tolist() == [[1, 3, 2]]
    assert found.distance_QK[0, :2].tolist() == [0, 0]
    assert found.distance_QK[0, 2] == pytest.approx(4e-8, rel=1e-3)
