"""Triplets that share faces come together: fewer faces in a batch, and still every triplet once a round."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fecnet.config.node import load_config
from fecnet.data.build import build_loader
from fecnet.data.packed import PackedDataset
from fecnet.data.samplers import TripletSampler
from fecnet.data.sharing import order_by_shared_face


def many_triplets(num, num_faces, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(num_faces, 3, replace=False) for _ in range(num)]).astype(np.int32)


def test_triplets_of_one_first_face_stand_together():
    faces_T3 = many_triplets(300, 40)
    order_T = order_by_shared_face(faces_T3, seed=5)
    assert sorted(order_T) == list(range(300))
    rank = np.random.default_rng(5).permutation(40)
    firsts = [min(rank[face] for face in faces_T3[place]) for place in order_T]
    assert firsts == sorted(firsts)
    assert order_T.tolist() != order_by_shared_face(faces_T3, seed=6).tolist()


@given(size=st.integers(1, 200), together=st.integers(1, 30))
def test_a_round_shows_every_triplet_once_and_keeps_neighbours(size, together):
    order_T = np.random.default_rng(0).permutation(size)
    sampler = TripletSampler(
        np.zeros(size, np.int8), batch_size=1, seed=1, balance=False, order_T=order_T, together=together
    )
    drawn = np.concatenate([sampler.rows(iteration) for iteration in range(1, 2 * size + 1)])
    for round_ in (drawn[:size], drawn[size:]):
        assert sorted(round_) == list(range(size))
        groups = {tuple(order_T[first : first + together]) for first in range(0, size, together)}
        assert {tuple(round_[first : first + together]) for first in range(0, size, together)} == groups


@pytest.mark.parametrize("balance", [False, True])
def test_batches_show_fewer_faces(balance):
    faces_T3 = many_triplets(3000, 300)
    type_T = np.arange(3000) % 3

    def faces_a_batch(**together):
        sampler = TripletSampler(type_T, batch_size=30, seed=0, balance=balance, **together)
        return np.mean([len(np.unique(faces_T3[sampler.rows(iteration)])) for iteration in range(1, 101)])

    order_T = order_by_shared_face(faces_T3, 0)
    plain, *grouped = faces_a_batch(), *(faces_a_batch(order_T=order_T, together=number) for number in (2, 5, 10))
    assert plain > grouped[0] > grouped[1] > grouped[2]
    assert grouped[2] < 0.85 * plain


def test_the_setting_reaches_the_loader_and_has_limits(tiny):
    dataset = PackedDataset(tiny)

    def images(together):
        options = ["DATA.TRIPLETS_TOGETHER", str(together), "SOLVER.BATCH_SIZE", "6", "DATA.BALANCE_TYPES", "false"]
        loader = build_loader(load_config(None, options), dataset, rank=0, world_size=1, device=torch.device("cpu"))
        return sum(len(batch.row_U) for _, (batch,) in loader(1, 5))

    assert images(6) < images(1)
    for wrong in (0, 7):
        with pytest.raises(ValueError, match=rf"DATA\.TRIPLETS_TOGETHER: {wrong}; allowed: 1\.\.6, at most SOLVER"):
            images(wrong)
