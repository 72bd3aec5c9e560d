"""The metric against a naive loop and by hand: ties are wrong, NaN is an error, types are counted apart."""

import numpy as np
import pytest
import torch

from fecnet.evaluation import triplet_accuracy as module
from fecnet.evaluation.triplet_accuracy import format_table, triplet_accuracy


def naive(embedding, faces, odd, kind):
    right, total = [0, 0, 0], [0, 0, 0]
    for three, o, t in zip(faces, odd, kind, strict=True):
        n = embedding[three[o]]
        a, p = (embedding[three[k]] for k in range(3) if k != o)
        ap, an, pn = (float(((x - y) ** 2).sum()) for x, y in ((a, p), (a, n), (p, n)))
        right[t] += ap < an and ap < pn
        total[t] += 1
    return tuple(right), tuple(total)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_equals_the_naive_loop(monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    embedding = torch.from_numpy(rng.normal(size=(30, 16)))
    faces = np.stack([rng.permutation(30)[:3] for _ in range(500)])
    odd, kind = rng.integers(0, 3, 500), rng.integers(0, 3, 500)
    found = triplet_accuracy(embedding, faces, odd, kind)
    assert (found.right, found.total) == naive(embedding, faces, odd, kind)
    assert found.counts("ALL") == (sum(found.right), 500)


def test_a_tie_is_wrong():
    # An equilateral triangle: all distances equal; and two equal faces with the odd one among them.
    corner = torch.eye(3)
    faces = np.array([[0, 1, 2]] * 3)
    assert triplet_accuracy(corner, faces, np.arange(3), np.zeros(3, int)).right == (0, 0, 0)
    collapsed = torch.ones(3, 16)
    assert triplet_accuracy(collapsed, faces, np.arange(3), np.zeros(3, int)).right == (0, 0, 0)


def test_mixed_labels_do_not_meet():
    # Odd faces in every place: an implementation that gathers by masks pairs distances of different triplets.
    line = torch.tensor([[0.0], [1.0], [10.0], [30.0]])
    faces = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 3]])
    odd = np.array([2, 0, 1, 2])
    found = triplet_accuracy(line, faces, odd, np.array([0, 1, 2, 2]))
    assert (found.right, found.total) == ((1, 1, 2), (1, 1, 2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_embedding_that_is_not_finite_is_an_error(bad):
    embedding = torch.zeros(5, 4)
    embedding[3, 1] = bad
    with pytest.raises(ValueError, match="face 3 is not finite"):
        triplet_accuracy(embedding, np.array([[0, 1, 2]]), np.array([0]), np.array([0]))


def test_table():
    found = triplet_accuracy(
        torch.tensor([[0.0], [1.0], [9.0]]), np.array([[0, 1, 2]] * 4), np.array([2, 2, 0, 2]), np.array([0, 0, 0, 1])
    )
    table = format_table({"net": found}).splitlines()
    assert table[0].split() == ["ONE", "TWO", "THREE", "ALL"]
    assert table[1].split() == ["net", "66.7", "100.0", "-", "75.0"]
    assert table[2].split() == ["triplets", "3", "1", "-", "4"]
    assert table[3:] == ["spread: squared distances between the faces of a triplet are 48.7 on average"]
    assert found.to_dict()["ALL"] == {"right": 3, "total": 4, "percent": 75.0}


def test_split_votes_are_counted_by_agreement():
    # the net calls face 2 of every triplet; shares of the odd face: 5/6, 10/12, 4/6, 2/3, 3/6, 2/4, 1/1, no vote
    line, faces = torch.tensor([[0.0], [1.0], [9.0]]), np.array([[0, 1, 2]] * 8)
    votes = [(1, 0, 5), (1, 10, 1), (2, 0, 4), (1, 0, 2), (2, 1, 3), (1, 2, 1), (0, 0, 1), (0, 0, 0)]
    odd = np.array([2, 1, 2, 2, 2, 1, 2, 2])
    levels = module.agreement_levels(np.array(votes, np.uint8), odd)
    assert levels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    found = triplet_accuracy(line, faces, odd, np.zeros(8, int), np.array(votes, np.uint8))
    assert [found.counts(row) for row in module.AGREEMENT_ROWS] == [(1, 2), (2, 2), (1, 2)]
    assert found.counts("ALL") == (6, 8)
    assert found.to_dict()[">=5/6"] == {"right": 1, "total": 2, "percent": 50.0}
    assert list(found.metrics()) == list(module.ROWS)
    halves = module.TripletAccuracy((3, 0, 0), (4, 0, 0))
    table = format_table({"net": found, "halves": halves}).splitlines()
    assert table[0].split() == ["ONE", "TWO", "THREE", "ALL", ">=5/6", ">=4/6", "<4/6"]
    assert table[1].split() == ["net", "75.0", "-", "-", "75.0", "50.0", "100.0", "50.0"]
    assert table[2].split() == ["halves", "75.0", "-", "-", "75.0", "-", "-", "-"]
    assert table[3].split() == ["triplets", "8", "-", "-", "8", "2", "2", "2"]
    assert table[-1] == module.AGREEMENT_TEXT


@pytest.mark.parametrize("votes", [None, np.zeros((1, 3), np.uint8), np.array([[0, 0, 1]], np.uint8)])
def test_without_several_raters_there_are_no_rows_of_agreement(votes):
    line, faces = torch.tensor([[0.0], [1.0], [9.0]]), np.array([[0, 1, 2]])
    found = triplet_accuracy(line, faces, np.array([2]), np.array([0]), votes)
    assert found.rows == module.ROWS
    assert len(format_table({"net": found}).splitlines()) == 4  # the last one says the spread
