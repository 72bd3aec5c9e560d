"""Failures against naive loops: which triplets and faces, in which order, and how many."""

from itertools import combinations

import numpy as np
import pytest
import torch

from fecnet.data.packed import TripletTable
from fecnet.evaluation.triplet_accuracy import triplet_accuracy
from fecnet.run_page.failures import triplet_failures, wrong_faces


def random_table(num=200, faces=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(1000, faces, replace=False))
    table = TripletTable(
        np.stack([rng.choice(rows, 3, replace=False) for _ in range(num)]).astype(np.int32),
        rng.integers(0, 3, num).astype(np.int8),
        (np.arange(num) % 3).astype(np.int8),
        rng.integers(0, 4, (num, 3)).astype(np.uint8),
    )
    return table, rows, rng.normal(size=(faces, 4)).astype(np.float32)


def naive(table, rows, embedding):
    """By type: (how sure, number, odd to the net) of every triplet that the net gets wrong."""
    wrong = {0: [], 1: [], 2: []}
    value = dict(zip(rows.tolist(), embedding.astype(np.float64), strict=True))
    for number, faces in enumerate(table.faces_T3.tolist()):
        apart = {}
        for k, m in combinations(range(3), 2):
            apart[3 - k - m] = ((value[faces[k]] - value[faces[m]]) ** 2).sum()
        net, annotated = min(apart, key=apart.get), int(table.odd_T[number])
        if net != annotated:
            wrong[int(table.type_T[number])].append((apart[annotated] - apart[net], number, net))
    return {kind: sorted(found, reverse=True) for kind, found in wrong.items()}


def test_the_surest_mistakes_of_each_type_are_found():
    table, rows, embedding = random_table()
    wanted = naive(table, rows, embedding)
    found, counts = triplet_failures(table, rows, embedding, per_type=5)
    assert [(f.number, f.predicted) for f in found] == [(n, net) for kind in range(3) for _, n, net in wanted[kind][:5]]
    assert [counts[row] for row in ("ONE", "TWO", "THREE")] == [len(wanted[kind]) for kind in range(3)]
    assert counts["ALL"] == sum(map(len, wanted.values()))
    for failure in found:
        assert failure.rows == tuple(table.faces_T3[failure.number])
        assert failure.odd == table.odd_T[failure.number] != failure.predicted
        assert failure.votes == tuple(table.votes_T3[failure.number])


def test_as_many_mistakes_as_the_table_of_accuracy_says():
    table, rows, embedding = random_table(seed=1)
    embedding[rows == table.faces_T3[0, 0]] = embedding[rows == table.faces_T3[0, 1]]  # some ties
    _, counts = triplet_failures(table, rows, embedding)
    places = np.searchsorted(rows, table.faces_T3)
    accuracy = triplet_accuracy(torch.from_numpy(embedding), places, table.odd_T, table.type_T)
    for row, count in counts.items():
        right, total = accuracy.counts(row)
        assert count == total - right


def test_a_tie_is_a_mistake_without_a_choice():
    table = TripletTable(
        np.array([[3, 5, 9]], np.int32), np.array([0], np.int8), np.array([2], np.int8), np.zeros((1, 3), np.uint8)
    )
    found, counts = triplet_failures(table, np.array([3, 5, 9]), np.zeros((3, 2), np.float32))
    assert counts == {"ONE": 0, "TWO": 0, "THREE": 1, "ALL": 1}
    assert found[0].predicted is None


def test_a_face_without_an_embedding_is_an_error():
    table, rows, embedding = random_table()
    with pytest.raises(ValueError, match="no embedding of some faces"):
        triplet_failures(table, rows[:-1], embedding[:-1])


def test_wrong_faces_are_the_surest_and_few_of_a_kind():
    label = np.array([0, 0, 0, 1, -1, 2, 0])
    probability = np.array(
        [[0.1, 0.9, 0], [0.2, 0.8, 0], [0.3, 0.7, 0], [0.5, 0.3, 0.2], [1, 0, 0], [0, 0, 1], [0.1, 0.2, 0.7]]
    )
    found, num = wrong_faces(np.arange(10, 17), label, probability, same=2)
    assert num == 5
    assert [(f.row, f.label, f.predicted) for f in found] == [(10, 0, 1), (11, 0, 1), (16, 0, 2), (13, 1, 0)]
    assert found[0].probability == pytest.approx(0.9)
    assert len(wrong_faces(np.arange(10, 17), label, probability, limit=1)[0]) == 1
