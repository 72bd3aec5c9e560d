"""The spread of an embedding: by naive loops, however the batches are cut, and what is said of it."""

import itertools

import numpy as np
import pytest
import torch

from fecnet.evaluation import triplet_accuracy as module
from fecnet.evaluation.spread import COLLAPSED, Spread, sum_distances
from fecnet.evaluation.triplet_accuracy import TripletAccuracy, format_table, triplet_accuracy
from tests.engine.test_stepper import batch_of, cut


def naive(embedding_ND, faces_T3):
    """All squared distances between the faces of each triplet."""
    return [
        float((embedding_ND[a].double() - embedding_ND[b].double()).square().sum())
        for faces_3 in faces_T3
        for a, b in itertools.combinations(faces_3, 2)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_of_distances_add_up_over_micro_batches(dtype):
    batch = batch_of(7)
    embedding_ND = torch.nn.functional.normalize(torch.randn(21, 16), dim=1).to(dtype).requires_grad_()
    expected = naive(embedding_ND.detach(), batch.triplets.face_B3.tolist())
    total, number = sum_distances({"embedding": embedding_ND}, batch)
    assert (number.item(), total.dtype, total.requires_grad) == (21, torch.float32, False)
    assert total.item() == pytest.approx(sum(expected), rel=1e-5)
    parts = [
        sum_distances({"embedding": some}, part)
        for some, part in zip(embedding_ND.split([9, 12]), cut(batch, (3, 4)), strict=True)
    ]
    assert sum(part[0].item() for part in parts) == pytest.approx(total.item(), rel=1e-5)
    assert sum(part[1].item() for part in parts) == 21


@pytest.mark.parametrize("chunk", [7, 1000])
def test_the_spread_of_a_split_is_that_of_the_naive_loop(monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    faces_T3 = np.stack([rng.permutation(30)[:3] for _ in range(50)])
    embedding_ND = torch.nn.functional.normalize(torch.randn(30, 16), dim=1)
    found = triplet_accuracy(embedding_ND, faces_T3, rng.integers(0, 3, 50), rng.integers(0, 3, 50))
    expected = naive(embedding_ND, faces_T3)
    assert found.spread.mean == pytest.approx(np.mean(expected), rel=1e-5)
    assert found.spread.largest == pytest.approx(max(expected), rel=1e-5)
    assert not found.spread.collapsed and not found.warning()
    assert triplet_accuracy(embedding_ND, faces_T3[:0], np.zeros(0, int), np.zeros(0, int)).spread is None


@pytest.mark.parametrize(("apart", "collapsed"), [(0.9 * COLLAPSED, True), (1.1 * COLLAPSED, False), (0.0, True)])
def test_no_accuracy_is_given_where_all_faces_coincide_but_for_rounding(apart, collapsed):
    unit = torch.nn.functional.normalize(torch.randn(1, 16), dim=1)
    embedding_ND = torch.cat([unit, unit + (apart / 16) ** 0.5, unit])
    assert triplet_accuracy(embedding_ND, np.array([[0, 1, 2]]), np.array([1]), np.array([0])).right[0] == (apart > 0)
    found = triplet_accuracy(embedding_ND, np.array([[0, 1, 2]]), np.array([1]), np.array([0]))
    assert (found.spread.collapsed, bool(found.warning())) == (collapsed, collapsed)
    assert found.metrics()["ALL"] == (None if collapsed else 100)
    assert found.to_dict()["ALL"]["total"] == 1
    table = format_table({"net": found, "oracle": TripletAccuracy((1, 0, 0), (1, 0, 0))}).splitlines()
    assert table[1].split() == (["net", "-", "-", "-", "-"] if collapsed else ["net", "100.0", "-", "-", "100.0"])
    assert table[4:] == ([f"net: {found.warning()}"] if collapsed else [found.spread.text()])
    assert "ties are not counted as right" in Spread(0, 0).text()
