"""Recall, average precision and votes against loops; what does not count is neither found nor asked."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fecnet.evaluation import retrieval as module
from fecnet.evaluation.identity_leak import identity_leak
from fecnet.evaluation.retrieval import Ranking, average_precision, format_retrieval, hit_probability, retrieval

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
    options = {"group_N": person if grouped else None, "subject_N": person}
    found = retrieval(emb, label, CLASSES, asks, num=4, **options)
    expected = [naive(emb, label, query, 4, group) for query in asks]
    assert all(expected) and found.alone == 0 and np.array_equal(found.query_Q, asks)
    for place, (hits, precision, near, chance, _) in enumerate(expected):
        assert found.hit_QR[place].tolist() == hits
        assert found.precision_Q[place] == pytest.approx(precision)
        alike = np.zeros((2, 2))
        for k in near:
            alike[int(label[k] == label[asks[place]]), int(person[k] == person[asks[place]])] += 1
        assert np.array_equal(found.alike_Q22[place], alike)
        assert found.chance_Q[place] == pytest.approx(chance)
    called = np.zeros((3, 3), int)
    for query, (*_, voted) in zip(asks, expected, strict=True):
        called[label[query], voted] += 1
    assert np.array_equal(found.knn.confusion_KK, called)


def ranking_of(distances):
    distances = np.array(distances, float)
    order = distances.argsort(1, kind="stable")
    ties = module._ties(np.take_along_axis(distances, order, 1))
    return Ranking(np.arange(len(distances)), order, np.isfinite(np.take_along_axis(distances, order, 1)), *ties)


def test_average_precision_by_hand():
    hits = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
    ranking = ranking_of([[1, 2, 3, 4]] * 3)
    assert average_precision(hits, ranking).tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 4, 1])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equally_far_faces_count_as_the_mean_over_their_orders(data):
    """Every order of five faces, some equally far and one that does not count."""
    far, relevant = (
        st.lists(values, min_size=5, max_size=5) for values in (st.sampled_from([1.0, 2.0, 3.0]), st.booleans())
    )
    distances = np.array([*data.draw(far), np.inf])
    hit = np.array([*data.draw(relevant.filter(any)), False])
    expected = np.zeros(4)
    orders = [list(order) for order in permutations(range(6)) if (np.diff(distances[list(order)][:5]) >= 0).all()]
    orders = [order for order in orders if order[5] == 5]
    for order in orders:
        ranked = hit[order][:5]
        precision = [ranked[: place + 1].mean() for place in range(5) if ranked[place]]
        expected += [np.mean(precision), *(ranked[:rank].any() for rank in (1, 2, 4))]
    ranking = ranking_of([distances])
    hits = hit[ranking.order_QN]
    found = [average_precision(hits, ranking)[0], *(hit_probability(hits, ranking, rank)[0] for rank in (1, 2, 4))]
    assert found == pytest.approx((expected / len(orders)).tolist())
    assert ranking.within(3).sum() == pytest.approx(3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999))
def test_the_order_of_the_faces_changes_nothing(seed):
    """Copies, near-copies and ties: metrics, votes and leakage are those of the same faces in any order."""
    rng = np.random.default_rng(seed)
    emb = rng.integers(0, 2, (24, 3)).astype(np.float32)
    emb[::3] += np.float32(1e-6)
    label, person = rng.integers(0, 3, 24), rng.integers(0, 4, 24)

    def told(order):
        rows = (emb[order], label[order], CLASSES, np.arange(24))
        found = retrieval(*rows, num=4, subject_N=person[order])
        leak = identity_leak(found.query_Q, found.alike_Q22, label[order], person[order])
        return found.to_dict() | {name: share.to_dict() for name, share in leak.items()}

    def close(one, other):
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
        return one == other if one is None or isinstance(one, list) else one == pytest.approx(other, abs=0.011)

    assert close(told(np.arange(24)), told(rng.permutation(24)))


def test_a_face_without_its_like_does_not_ask():
    emb = np.array([[0.0], [0.1], [0.3], [5.0]], np.float32)
    found = retrieval(emb, np.array([0, 0, 1, 2]), CLASSES, np.arange(4), num=3)
    assert found.alone == 2 and found.query_Q.tolist() == [0, 1]
    told = found.to_dict()
    assert told["classes"]["sad"] == dict.fromkeys(told["classes"]["sad"]) | {"faces": 0}
    assert told["mean_class_mAP"] == 100 and "sad" in format_retrieval(found)


def test_equal_faces_are_found_and_the_face_itself_is_not():
    """Three copies of one face, two of them of one class: each is as likely to find the one as the other."""
    found = retrieval(np.zeros((3, 2), np.float32), np.array([0, 0, 1]), CLASSES, np.arange(3), num=1)
    assert found.query_Q.tolist() == [0, 1] and found.alone == 1
    assert found.metrics()["recall@1"] == 50 and found.metrics()["mAP"] == 75
    assert found.alike_Q22.tolist() == [[[0.5, 0], [0.5, 0]]] * 2


def test_nobody_else_no_figures():
    found = retrieval(
        np.zeros((3, 2), np.float32), np.array([0, 0, 0]), CLASSES, np.arange(3), num=2, group_N=np.zeros(3)
    )
    assert found.alone == 3 and found.metrics()["mAP"] is None
    assert format_retrieval(found)
