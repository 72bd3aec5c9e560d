"""Exact search against a loop; near-copies, copies and blocks of any size do not change what is nearest."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fecnet.evaluation import nearest as module
from fecnet.evaluation.nearest import all_distances, nearest, rank_pairs
from tests.search.vectors import near_copies


def naive(vectors, query, num):
    distances = [float(np.square(vector - query, dtype=np.float64).sum()) for vector in vectors]
    return sorted(range(len(vectors)), key=lambda row: (distances[row], row))[:num]


@pytest.mark.parametrize("num", [1, 5, 33, 50])
def test_blocks_find_what_a_loop_finds(monkeypatch, num):
    """50 vectors in blocks of 7, also where a block holds fewer than are asked for."""
    monkeypatch.setattr(module, "_ROWS", 7)
    monkeypatch.setattr(module, "_QUERIES", 3)
    monkeypatch.setattr(module, "_NUMBERS", 20)
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    found = nearest(vectors, queries, num)
    assert found.row_QK.tolist() == [naive(vectors, query, num) for query in queries]
    assert all_distances(vectors, queries).argsort(1, kind="stable")[:, :num].tolist() == found.row_QK.tolist()


@pytest.mark.parametrize("scale", [1e-30, 3e-21, 1, 1e17])  # squares that vanish in float32
def test_near_copies_are_told_apart_and_copies_come_by_row(scale):
    vectors = (near_copies() * scale).astype(np.float32)
    everything = np.concatenate([vectors, vectors[::-1]])  # every vector twice
    found = nearest(everything, vectors, 4)
    rows = np.arange(len(vectors))
    assert np.array_equal(found.row_QK[:, :2], np.stack([rows, len(everything) - 1 - rows], 1))
    assert (found.distance_QK[:, :2] == 0).all()
    assert found.row_QK.tolist() == [naive(everything.astype(np.float64), query, 4) for query in vectors]


def test_squares_beyond_float32_rule_nothing_out():
    """a² overflows although a² − 2ab does not: an infinite product counted as far away."""
    rng = np.random.default_rng(0)
    vectors, queries = ((1e19 * rng.uniform(0.2, high, (30, 1))).astype(np.float32) for high in (2.4, 1.6))
    with np.errstate(over="ignore"):
        found = nearest(vectors, queries, 2)
    assert found.row_QK.tolist() == [naive(vectors.astype(np.float64), query, 2) for query in queries]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_nearest_of_small_whole_numbers(data):
    """Many ties and copies: what is found is what a loop finds, whichever queries are asked together."""
    seed, dims, num = (data.draw(st.integers(low, high)) for low, high in ((0, 999), (1, 9), (1, 12)))
    rng = np.random.default_rng(seed)
    vectors, queries = (rng.integers(-1, 2, (count, dims)).astype(np.float32) for count in (12, 5))
    found = nearest(vectors, queries, num)
    assert found.row_QK.tolist() == [naive(vectors, query, num) for query in queries]
    alone = [nearest(vectors, query[None], num) for query in queries]
    assert np.array_equal(np.concatenate([each.row_QK for each in alone]), found.row_QK)
    order = rng.permutation(12)
    other = nearest(vectors[order], queries, num)
    assert np.array_equal(other.distance_QK, found.distance_QK)
    assert (np.diff(other.row_QK, axis=1)[np.diff(other.distance_QK, axis=1) == 0] > 0).all()


def test_candidates_of_a_query_are_ranked_by_difference():
    """|a|² + |b|² − 2ab would say about 1e-7 for equal vectors, and put these in any order."""
    base = np.full(16, 0.25, np.float32)
    step = np.zeros(16, np.float32)
    step[0] = 2e-4
    vectors = np.stack([base + 2 * step, base, base + step, base])
    ranked = rank_pairs(vectors, base[None], np.zeros(4, np.int64), np.array([0, 3, 2, 1]), 3)
    assert ranked.row_P.tolist() == [1, 3, 2]
    assert ranked.distance_P[:2].tolist() == [0, 0]
    assert ranked.distance_P[2] == pytest.approx(4e-8, rel=1e-3)


def test_short_vectors_are_found_beside_long_ones():
    """The bound of the product's error follows the longest vector of a block."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(600, 24)) * rng.choice([1e-3, 1, 1e3], (600, 1))).astype(np.float32)
    found = nearest(vectors, vectors[::30], 3)
    assert found.row_QK.tolist() == [naive(vectors.astype(np.float64), query, 3) for query in vectors[::30]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same():
    vectors = near_copies()
    ours, theirs = (nearest(vectors, vectors, 5, torch.device(name)) for name in ("cpu", "cuda"))
    assert np.array_equal(ours.row_QK, theirs.row_QK) and np.array_equal(ours.distance_QK, theirs.distance_QK)
