"""Agreement above chance: known values, and no order of faces changes it."""

import itertools

import numpy as np
import pytest

from fecnet.evaluation.chance_agreement import chance_agreement


def test_by_hand():
    # pairs that agree: 3 of 3; 1 of 3; 0 of 1. The last triplet has one answer only.
    found = chance_agreement([[3, 0, 0], [2, 1, 0], [0, 1, 1], [0, 0, 1]])
    assert found.triplets == 3
    assert found.share == pytest.approx(4 / 9)
    assert found.kappa == pytest.approx((4 / 9 - 1 / 3) / (2 / 3))


def test_alpha_is_that_of_its_definition():
    votes_T3 = np.array([[3, 0, 0], [2, 1, 0], [0, 1, 1], [0, 4, 2]])
    total_T = votes_T3.sum(axis=1)
    num = 3 * total_T.sum()  # answers in the three rotations
    differ_T = total_T**2 - (votes_T3**2).sum(axis=1)
    observed = 3 * (differ_T / (total_T - 1)).sum() / num
    expected = (num**2 - 3 * (num / 3) ** 2) / (num * (num - 1))
    assert chance_agreement(votes_T3).alpha == pytest.approx(1 - observed / expected)


def test_the_order_of_the_faces_does_not_matter():
    rng = np.random.default_rng(0)
    votes_T3 = rng.multinomial(5, [0.8, 0.1, 0.1], 12)
    plain = chance_agreement(votes_T3)
    for order in itertools.islice(itertools.permutations(range(3)), 1, None):
        other = votes_T3.copy()
        other[::2] = other[::2, order]
        assert chance_agreement(other) == pytest.approx(plain)


def test_unanimous_guessing_and_nothing():
    assert chance_agreement([[2, 0, 0]]) == pytest.approx((1, 1, 1, 1))
    votes_T3 = np.random.default_rng(0).multinomial(6, [1 / 3] * 3, 20_000)
    assert chance_agreement(votes_T3)[1:] == pytest.approx((1 / 3, 0, 0), abs=0.01)
    assert np.isnan(chance_agreement([[1, 0, 0]]).alpha)
