"""The order of the data: every item once a round, a third of each type, no state, no dependence on world size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fecnet.data.permutation import permuted
from fecnet.data.samplers import ClassSampler, TripletSampler, share


@settings(deadline=None)
@given(size=st.integers(1, 3000), key=st.integers(0, 2**70))
def test_permutation_is_a_bijection(size, key):
    assert sorted(permuted(np.arange(size), size, key)) == list(range(size))


def test_permutation_of_any_place_needs_no_other():
    whole = permuted(np.arange(1000), 1000, 5)
    assert [int(permuted(np.array([k]), 1000, 5)[0]) for k in range(1000)] == whole.tolist()


def test_permutations_look_shuffled():
    # Over many keys each place goes everywhere about equally often, and neighbours do not stay together.
    landed = np.stack([permuted(np.arange(20), 20, key) for key in range(1000)])
    counts = np.stack([np.bincount(landed[:, place], minlength=20) for place in range(20)])
    assert abs(counts - 50).max() < 6 * np.sqrt(50)
    together = np.mean(np.abs(np.diff(landed, axis=1)) == 1)
    assert abs(together - 0.1) < 0.02  # 2·19/(20·19) for a uniform permutation


def test_every_triplet_once_a_round():
    sampler = TripletSampler(np.zeros(35, np.int8), batch_size=10, seed=3, balance=False)
    drawn = np.concatenate([sampler.rows(iteration) for iteration in range(1, 8)])
    assert sorted(drawn[:35]) == sorted(drawn[35:]) == list(range(35))
    assert drawn[:35].tolist() != drawn[35:].tolist()
    assert sampler.iterations_per_epoch == 4


def test_balanced_batches_take_a_third_of_each_type():
    type_T = np.repeat([0, 1, 2], [50, 7, 20])
    sampler = TripletSampler(type_T, batch_size=10, seed=0, balance=True)
    drawn = np.concatenate([sampler.rows(iteration) for iteration in range(1, 22)])
    for iteration in range(1, 22):
        assert np.bincount(type_T[sampler.rows(iteration)], minlength=3).max() <= 4
    assert np.bincount(type_T[drawn]).tolist() == [70, 70, 70]
    two_class = drawn[type_T[drawn] == 1]
    assert np.bincount(two_class - 50).tolist() == [10] * 7  # ten whole rounds of the seven


def test_batches_are_a_function_of_seed_and_iteration():
    def rows(seed, iteration):
        return TripletSampler(np.arange(90) % 3, batch_size=9, seed=seed, balance=True).rows(iteration).tolist()

    assert rows(1, 4) == rows(1, 4)
    assert rows(1, 4) != rows(2, 4)
    assert rows(1, 4) != rows(1, 5)


def test_labelled_faces_come_once_a_round():
    sampler = ClassSampler(np.zeros(35, np.int64), batch_size=10, seed=3, balance=False)
    drawn = np.concatenate([sampler.rows(iteration) for iteration in range(1, 8)])
    assert sorted(drawn[:35]) == sorted(drawn[35:]) == list(range(35))
    assert sampler.iterations_per_epoch == 4


def test_balanced_classes_come_equally_often_and_a_rare_one_in_whole_rounds():
    class_M = np.repeat([0, 1, 4], [50, 2, 20])
    sampler = ClassSampler(class_M, batch_size=12, seed=0, balance=True)
    for iteration in range(1, 21):  # twice each of two faces in every batch, which the triplets' sampler refuses
        assert np.bincount(class_M[sampler.rows(iteration)]).tolist() == [4, 4, 0, 0, 4]
        assert np.bincount(sampler.rows(iteration), minlength=52)[50:52].tolist() == [2, 2]
    drawn = np.concatenate([sampler.rows(iteration) for iteration in range(1, 26)])
    assert np.bincount(drawn, minlength=72)[:50].tolist() == [2] * 50
    assert sampler.rows(7).tolist() == ClassSampler(class_M, batch_size=12, seed=0, balance=True).rows(7).tolist()
    assert sampler.rows(7).tolist() != ClassSampler(class_M, batch_size=12, seed=1, balance=True).rows(7).tolist()


@pytest.mark.parametrize("batch_size", [0, 13])
def test_a_batch_larger_than_the_data_is_refused(batch_size):
    with pytest.raises(ValueError, match=r"SOLVER\.BATCH_SIZE: \d+ for 12 triplets; allowed: 1\.\.12"):
        TripletSampler(np.zeros(12, np.int8), batch_size=batch_size, seed=0, balance=False)


@given(total=st.integers(0, 500), parts=st.integers(1, 40))
def test_shares_are_all_and_even(total, parts):
    shares = [share(total, parts, number) for number in range(parts)]
    assert [k for part in shares for k in range(part.start, part.stop)] == list(range(total))
    sizes = [part.stop - part.start for part in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_larger_than_the_labelled_faces_is_refused():
    with pytest.raises(ValueError, match=r"SOLVER\.BATCH_SIZE: 13 for 12 labelled faces; allowed: 1\.\.12"):
        ClassSampler(np.zeros(12, np.int64), batch_size=13, seed=0, balance=False)
