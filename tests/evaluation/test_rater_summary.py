"""Rows of raters by hand; anonymous answers are one rater, and no order of answers changes a row."""

import numpy as np
import pytest

from fecnet.evaluation.rater_reliability import rater_reliability
from fecnet.evaluation.rater_summary import format_raters, summarise_raters
from fecnet.utils.errors import UserError


def crowd(seed=0, num=300):
    """Answers of six raters of falling accuracy; those of the last two are given without a name, as rater 0."""
    rng = np.random.default_rng(seed)
    truth_T = rng.integers(0, 3, num)
    triplet_A, rater_A = np.arange(num).repeat(6), np.tile(np.arange(6), num)
    right_A = rng.random(6 * num) < np.array([0.95, 0.9, 0.8, 0.6, 0.5, 0.34])[rater_A]
    answer_A = np.where(right_A, truth_T[triplet_A], (truth_T[triplet_A] + rng.integers(1, 3, 6 * num)) % 3)
    return triplet_A, np.where(rater_A > 3, 0, rater_A + 1), answer_A


def test_agreement_by_hand():
    # triplet 0: a and b say 1, c says 2; triplet 1: a and c say 0; triplet 2: b alone
    triplet_A, rater_A, answer_A = np.array([[0, 0, 1], [0, 1, 1], [0, 2, 2], [1, 0, 0], [1, 2, 0], [2, 1, 2]]).T
    rows = summarise_raters("abc", triplet_A, rater_A, answer_A, ability_R=np.array([0.9, 0.5, 0.25]))
    assert [row.answers for row in rows] == [2, 2, 2]
    assert [row.agreement for row in rows] == [pytest.approx(share, abs=1e-4) for share in (2 / 3, 1 / 2, 1 / 3)]
    assert [row.ability for row in rows] == [0.9, 0.5, 0.25]
    alone = summarise_raters("ab", np.array([0, 1]), np.array([0, 1]), np.array([0, 0]))
    assert [row.agreement for row in alone] == [None, None]
    assert format_raters(alone).splitlines()[1].split() == [
        "a",
        "1",
        "-",
        "40.0",
    ]  # the prior, and one answer of which it is all


def test_anonymous_answers_are_one_rater_whatever_the_order():
    triplet_A, rater_A, answer_A = crowd()
    names = ["unknown", "a", "b", "c", "d"]
    rows = summarise_raters(names, triplet_A, rater_A, answer_A, unknown=0)
    assert [row.answers for row in rows] == [600, 300, 300, 300, 300]
    assert rows[0].reliability == pytest.approx(0.42, abs=0.05)  # between its two
    assert [row.reliability for row in rows[1:]] == [pytest.approx(value, abs=0.06) for value in (0.95, 0.9, 0.8, 0.6)]
    order = np.random.default_rng(1).permutation(len(triplet_A))
    assert summarise_raters(names, triplet_A[order], rater_A[order], answer_A[order], unknown=0) == rows
    with pytest.raises(UserError, match="a rater answers a triplet twice"):
        rater_reliability(triplet_A, rater_A, answer_A)
    with pytest.raises(UserError, match="a rater answers a triplet twice"):
        rater_reliability(triplet_A, rater_A, answer_A, unknown=4)


def test_of_many_raters_the_least_reliable_are_shown():
    rng = np.random.default_rng(0)
    triplet_A, rater_A = np.arange(200).repeat(3), np.arange(600) % 50
    answer_A = np.where(rater_A == 7, rng.integers(0, 3, 600), 1)
    lines = format_raters(summarise_raters([f"r{k}" for k in range(50)], triplet_A, rater_A, answer_A)).splitlines()
    assert len(lines) == 42 and lines[1].startswith("r7 ")
    assert lines[-1] == "… 10 further raters, more reliable; all by --json"
