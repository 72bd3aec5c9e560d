"""Triplets at random, by class and by what a net is undecided on: none twice, every face as often as the others."""

import numpy as np
import pytest

from fecnet.rate.choosing import UNKNOWN, known_triplets, random_triplets, typed_triplets, types_of
from fecnet.rate.informative import fit_beta, informative_triplets, margins, probabilities
from fecnet.structures import TripletType
from fecnet.utils.errors import DataError

LABELS = np.repeat([0, 1, 2, 3], [20, 10, 10, 5])


def rng(seed=0):
    return np.random.default_rng(seed)


def uses(chosen, num):
    return np.bincount(chosen.faces_T3.ravel(), minlength=num)


def check_distinct(faces_T3):
    assert (np.diff(faces_T3, axis=1) > 0).all()
    assert len({tuple(trio) for trio in faces_T3.tolist()}) == len(faces_T3)


def test_random_triplets_use_each_face_as_often():
    chosen = random_triplets(np.arange(20), np.full(20, -1), 100, rng())
    check_distinct(chosen.faces_T3)
    counts = uses(chosen, 20)
    assert counts.sum() == 300 and counts.max() <= counts.min() + 3
    assert set(chosen.type_T) == {UNKNOWN}


def test_all_triplets_there_are_and_one_more():
    chosen = random_triplets(np.arange(6), np.full(6, -1), 20, rng())
    check_distinct(chosen.faces_T3)
    assert set(uses(chosen, 6)) == {10}
    with pytest.raises(DataError, match=r"^21 triplets are asked for; of these faces there are 20$"):
        random_triplets(np.arange(6), np.full(6, -1), 21, rng())


def test_triplets_that_are_taken_do_not_come_again():
    first = random_triplets(np.arange(7), np.full(7, -1), 20, rng())
    taken = set(map(tuple, first.faces_T3.tolist()))
    second = random_triplets(np.arange(7), np.full(7, -1), 15, rng(1), taken)
    assert not taken & set(map(tuple, second.faces_T3.tolist()))


def test_a_seed_says_it_all():
    one, same, other = (random_triplets(np.arange(30), np.full(30, -1), 20, rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.faces_T3, same.faces_T3)
    assert not np.array_equal(one.faces_T3, other.faces_T3)


def test_typed_triplets_are_of_all_types_and_even():
    chosen = typed_triplets(np.arange(45), LABELS, 300, rng())
    check_distinct(chosen.faces_T3)
    assert np.bincount(chosen.type_T).tolist() == [100, 100, 100]
    assert np.array_equal(types_of(LABELS[chosen.faces_T3]), chosen.type_T)
    counts = uses(chosen, 45)
    assert counts.max() <= counts.min() + 4 and counts.sum() == 900


def test_faces_without_a_class_are_left_out_of_types():
    labels = LABELS.copy()
    labels[::7] = -1
    chosen = typed_triplets(np.arange(45), labels, 60, rng())
    assert (labels[chosen.faces_T3] >= 0).all()
    assert types_of(np.array([[0, 1, -1]])).tolist() == [UNKNOWN]


def test_too_few_classes_are_refused():
    with pytest.raises(DataError, match="2 classes with 3, 2 faces; typed triplets need three classes"):
        typed_triplets(np.arange(5), np.array([0, 0, 0, 1, 1]), 3, rng())


def test_controls_have_the_answer_of_the_labels():
    faces_T3, odd_T = known_triplets(np.arange(45), LABELS, 30, rng())
    check_distinct(faces_T3)
    for trio, odd in zip(LABELS[faces_T3].tolist(), odd_T.tolist(), strict=True):
        assert trio.count(trio[odd]) == 1 and len(set(trio)) == 2
    assert len(known_triplets(np.arange(4), np.array([0, 0, 1, 1]), 30, rng())[0]) == 4  # as many as there are
    assert len(known_triplets(np.arange(9), np.full(9, -1), 30, rng())[0]) == 0


def circle(num, seed=0):
    """Embeddings on a circle."""
    angle = rng(seed).uniform(0, 2 * np.pi, num)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_probabilities_by_hand():
    emb_ND = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    # opposite pairs: 1-2 is 5, 0-2 is 4, 0-1 is 1
    odds = np.exp([-5 * 0.5, -4 * 0.5, -1 * 0.5])
    assert probabilities(emb_ND, np.array([[0, 1, 2]]), 0.5)[0] == pytest.approx(odds / odds.sum())
    assert margins(emb_ND, np.array([[0, 1, 2]]), 0.5)[0] == pytest.approx((odds[2] - odds[1]) / odds.sum())


def test_informative_triplets_are_undecided_and_spread():
    emb_ND = circle(60)
    labels = np.full(60, -1)
    plain = random_triplets(np.arange(60), labels, 600, rng())
    chosen = informative_triplets(np.arange(60), labels, 60, rng(), emb_ND=emb_ND)
    check_distinct(chosen.faces_T3)
    assert len(chosen.type_T) == 60
    usual_T = np.sort(margins(emb_ND, plain.faces_T3, 4))
    assert np.mean(margins(emb_ND, chosen.faces_T3, 4) <= usual_T[len(usual_T) * 6 // 10]) > 0.9
    assert uses(chosen, 60).max() <= 5  # three on average


def test_informative_triplets_are_of_all_types():
    chosen = informative_triplets(np.arange(45), LABELS, 60, rng(), emb_ND=circle(45))
    assert np.bincount(chosen.type_T).tolist() == [20, 20, 20]
    assert np.array_equal(types_of(LABELS[chosen.faces_T3]), chosen.type_T)


def test_faces_that_the_net_does_not_find_are_not_asked():
    emb_ND = circle(12)
    emb_ND[[2, 5]] = np.nan
    chosen = informative_triplets(np.arange(12), np.full(12, -1), 20, rng(), emb_ND=emb_ND)
    assert not np.isin(chosen.faces_T3, [2, 5]).any()
    emb_ND[2:] = np.nan
    with pytest.raises(DataError, match="finds a face in 2 pictures; expected 3 or more"):
        informative_triplets(np.arange(12), np.full(12, -1), 20, rng(), emb_ND=emb_ND)


def test_beta_is_that_with_which_the_raters_answer():
    emb_ND = circle(50)
    faces_T3 = random_triplets(np.arange(50), np.full(50, -1), 800, rng()).faces_T3
    votes_T3 = np.array([rng(t).multinomial(6, p) for t, p in enumerate(probabilities(emb_ND, faces_T3, 3.0))])
    assert fit_beta(emb_ND, faces_T3, votes_T3) == pytest.approx(3.0, rel=0.2)
    assert fit_beta(emb_ND, faces_T3, votes_T3 * 0) == 4.0


def test_types_are_the_packed_ones():
    assert types_of(np.array([[1, 1, 1], [0, 2, 0], [0, 1, 2]])).tolist() == [*map(int, TripletType)]
