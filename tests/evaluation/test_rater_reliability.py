"""Reliability of raters: the model finds good raters and the right faces, and no order or lone rater changes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fecnet.evaluation.rater_reliability import rater_reliability
from fecnet.utils.errors import UserError

ACCURACY = (0.95, 0.9, 0.85, 0.8, 0.4, 0.34)


def simulated(num=400, seed=0):
    """Answers of six raters, two of whom guess, to triplets whose odd face is known: truth, and three arrays."""
    rng = np.random.default_rng(seed)
    truth_T = rng.integers(0, 3, num)
    rows = []
    for rater, accuracy in enumerate(ACCURACY):
        right_T = rng.random(num) < accuracy
        wrong_T = (truth_T + rng.integers(1, 3, num)) % 3
        rows += [(t, rater, truth_T[t] if right_T[t] else wrong_T[t]) for t in range(num)]
    return truth_T, *np.array(rows).T


def test_the_accuracies_are_found_and_beat_the_majority():
    truth_T, triplet_A, rater_A, answer_A = simulated(2000)
    found = rater_reliability(triplet_A, rater_A, answer_A)
    assert found.accuracy_R == pytest.approx(ACCURACY, abs=0.03)
    assert found.answers_R.tolist() == [2000] * 6
    votes_T3 = (answer_A.reshape(6, -1).T[..., None] == np.arange(3)).sum(axis=1)
    assert (found.odd_T == truth_T).mean() > (votes_T3.argmax(axis=1) == truth_T).mean() + 0.005


def test_by_hand_for_two_raters_of_one_triplet():
    # both are seen once, so both have the accuracy 0.4: odds of 0.4 / 0.3 each
    same = rater_reliability([0, 0], [0, 1], [2, 2])
    assert same.probability_TK[0] == pytest.approx(np.array([9, 9, 16]) / 34)
    assert same.odd_T.tolist() == [2]
    assert same.accuracy_R == pytest.approx(np.full(2, (16 / 34 + 0.8) / 3))
    differ = rater_reliability([0, 0], [0, 1], [2, 0])
    assert differ.odd_T.tolist() == [-1]  # a tie is nobody's


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_no_order_matters(seed):
    rng = np.random.default_rng(seed)
    num_triplets, num_raters = int(rng.integers(1, 12)), int(rng.integers(1, 8))
    triplet_A, rater_A = np.nonzero(rng.random((num_triplets, num_raters)) < 0.6)
    answer_A = rng.integers(0, 3, len(triplet_A))
    counts = {"num_triplets": num_triplets, "num_raters": num_raters}
    plain = rater_reliability(triplet_A, rater_A, answer_A, **counts)
    rows = rng.permutation(len(triplet_A))
    raters = rng.permutation(num_raters)  # new number of each rater
    faces_T3 = np.array([rng.permutation(3) for _ in range(num_triplets)])  # new place of each face
    other = rater_reliability(
        triplet_A[rows], raters[rater_A[rows]], faces_T3[triplet_A[rows], answer_A[rows]], **counts
    )
    np.testing.assert_allclose(other.accuracy_R[raters], plain.accuracy_R, atol=1e-6)
    np.testing.assert_allclose(
        np.take_along_axis(other.probability_TK, faces_T3, axis=1), plain.probability_TK, atol=1e-6
    )
    placed_T = np.where(plain.odd_T < 0, -1, faces_T3[np.arange(num_triplets), plain.odd_T])
    assert other.odd_T.tolist() == placed_T.tolist()


@pytest.mark.parametrize("quality", [0.34, 0.6, 0.95])
def test_a_rater_seen_once_never_overturns_agreement(quality):
    rng = np.random.default_rng(1)
    truth_T = rng.integers(0, 3, 60)
    answers_R = [np.where(rng.random(60) < quality, truth_T, (truth_T + 1) % 3) for _ in range(2)]
    agreed = np.flatnonzero(answers_R[0] == answers_R[1])
    strangers = (answers_R[0][agreed] + 1) % 3  # a new rater for each, who contradicts
    found = rater_reliability(
        np.concatenate([np.arange(60), np.arange(60), agreed]),
        np.concatenate([np.zeros(60), np.ones(60), 2 + np.arange(len(agreed))]),
        np.concatenate([*answers_R, strangers]),
    )
    assert len(agreed) > 15
    assert found.odd_T[agreed].tolist() == answers_R[0][agreed].tolist()


def test_unanimous_answers_of_raters_seen_once_stay():
    triplet_A = np.arange(30) // 3
    found = rater_reliability(triplet_A, np.arange(30), triplet_A % 3)
    assert found.odd_T.tolist() == (np.arange(10) % 3).tolist()


def test_one_who_always_contradicts_is_not_read_backwards():
    truth_T = np.arange(40) % 3
    against_T = (truth_T + 1) % 3
    found = rater_reliability(
        np.tile(np.arange(40), 3), np.repeat([0, 1, 2], 40), np.concatenate([truth_T, truth_T, against_T])
    )
    assert found.accuracy_R[2] < 0.1
    assert found.odd_T.tolist() == truth_T.tolist()


def test_known_answers_tell_who_is_right():
    # two raters who contradict each other throughout: nothing says who is right, but ten known answers
    truth_T = np.arange(40) % 3
    arrays = np.tile(np.arange(40), 2), np.repeat([0, 1], 40), np.concatenate([truth_T, (truth_T + 1) % 3])
    assert set(rater_reliability(*arrays).odd_T.tolist()) == {-1}
    known_T = np.where(np.arange(40) < 10, truth_T, -1)
    found = rater_reliability(*arrays, known_T=known_T)
    assert found.odd_T.tolist() == truth_T.tolist()
    assert found.accuracy_R[0] > 0.8 > 0.2 > found.accuracy_R[1]


def test_nobody_and_nothing():
    found = rater_reliability([], [], [], num_triplets=2, num_raters=1)
    assert np.isnan(found.accuracy_R).all()
    assert found.odd_T.tolist() == [-1, -1]
    assert rater_reliability([], [], []).probability_TK.shape == (0, 3)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        (([0, 0], [1, 1], [0, 1]), "a rater answers a triplet twice"),
        (([0], [0], [3]), r"answer: 3\.\.3; allowed: 0\.\.2"),
        (([0, 1], [0], [1]), "shapes"),
    ],
)
def test_what_cannot_be_is_refused(arrays, told):
    with pytest.raises(UserError, match=told):
        rater_reliability(*arrays)
