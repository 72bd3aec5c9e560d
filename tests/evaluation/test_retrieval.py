"""Recall, average precision and votes against loops; what does not count is neither found nor asked."""

import numpy as np
import pytest
import torch

from fecnet.evaluation import retrieval as module
from fecnet.evaluation.retrieval import average_precision, format_retrieval, retrieval

CLASSES = ("glad", "sad", "calm")


def naive(emb, label, query, num, group):
    """Per query: hits by rank, average precision, neighbours, chance and the class voted; None without a match."""
    others = [k for k in range(len(emb)) if group[k] != group[query]]
    order = sorted(others, key=lambda k: float(np.square(emb[k] - emb[query]).sum()))
    hits = [label[k] == label[query] for k in order]
    if not any(hits):
        return None
    precision = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
    near = order[:num]
    votes = {}
    for rank, k in enumerate(near):
        first, count = votes.get(label[k], (rank, 0))
        votes[label[k]] = (first, count + 1)
    voted = min(votes, key=lambda c: (-votes[c][1], votes[c][0]))
    return [any(hits[:r]) for r in (1, 5, 10)], np.mean(precision), near, np.mean(hits), voted


@pytest.mark.parametrize("grouped", [False, True])
def test_a_loop_counts_the_same(monkeypatch, grouped):
    monkeypatch.setattr(module, "_CELLS", 100)  # a few queries at a time
    rng = np.random.default_rng(0)
    emb = rng.normal(size=(60, 3)).astype(np.float32)
    label, person = rng.integers(0, 3, 60), rng.integers(0, 7, 60)
    group = person if grouped else np.arange(60)
    asks = np.arange(0, 60, 2)
    found = retrieval(torch.from_numpy(emb), label, CLASSES, asks, num=4, group_N=person if grouped else None)
    expected = [naive(emb, label, query, 4, group) for query in asks]
    assert all(expected) and found.alone == 0 and np.array_equal(found.query_Q, asks)
    for place, (hits, precision, near, chance, _) in enumerate(expected):
        assert found.hit_QR[place].tolist() == hits
        assert found.precision_Q[place] == pytest.approx(precision)
        assert found.neighbour_QK[place].tolist() == near
        assert found.chance_Q[place] == pytest.approx(chance)
    called = np.zeros((3, 3), int)
    for query, (*_, voted) in zip(asks, expected, strict=True):
        called[label[query], voted] += 1
    assert np.array_equal(found.knn.confusion_KK, called)


def test_average_precision_by_hand():
    hits = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
    assert average_precision(hits).tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 4, 1])


def test_a_face_without_its_like_does_not_ask():
    emb = torch.tensor([[0.0], [0.1], [0.3], [5.0]])
    found = retrieval(emb, np.array([0, 0, 1, 2]), CLASSES, np.arange(4), num=3)
    assert found.alone == 2 and found.query_Q.tolist() == [0, 1]
    told = found.to_dict()
    assert told["classes"]["sad"] == dict.fromkeys(told["classes"]["sad"]) | {"faces": 0}
    assert told["mean_class_mAP"] == 100 and "sad" in format_retrieval(found)


def test_equal_faces_are_found_and_the_face_itself_is_not():
    """Three copies of one face: the nearest of each is a copy, never itself."""
    emb = torch.zeros(3, 2)
    found = retrieval(emb, np.array([0, 0, 0]), CLASSES, np.arange(3), num=2)
    assert all(query not in near for query, near in enumerate(found.neighbour_QK.tolist()))
    assert found.metrics()["recall@1"] == 100


def test_nobody_else_no_figures():
    found = retrieval(torch.zeros(3, 2), np.array([0, 0, 0]), CLASSES, np.arange(3), num=2, group_N=np.zeros(3))
    assert found.alone == 3 and found.metrics()["mAP"] is None
    assert format_retrieval(found)
