"""Triplets that share faces come together: fewer faces in a batch, and still every triplet once a round."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fecnet.config.node import load_config
from fecnet.data.build import build_loader
from fecnet.data.packed import PackedDataset
from fecnet.data.permutation import permuted
from fecnet.data.samplers import TripletSampler
from fecnet.data.sharing import order_by_shared_face


def many_triplets(num, num_faces, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(num_faces, 3, replace=False) for _ in range(num)]).astype(np.int32)


def test_triplets_of_one_first_face_stand_together():
    faces_T3 = many_triplets(300, 40)
    order_T = order_by_shared_face(faces_T3, seed=5)
    assert sorted(order_T) == list(range(300))
    rank = permuted(np.arange(40), 40, 5)
    firsts = [min(rank[face] for face in faces_T3[place]) for place in order_T]
    assert firsts == sorted(firsts)
    assert order_T.tolist() != order_by_shared_face(faces_T3, seed=6).tolist()


@given(size=st.integers(4, 200), data=st.data())
def test_a_round_shows_every_triplet_once_and_keeps_neighbours(size, data):
    together = data.draw(st.integers(1, size // 4))
    faces_T3 = many_triplets(size, 12)
    sampler = TripletSampler(
        np.zeros(size, np.int8), batch_size=1, seed=1, balance=False, faces_T3=faces_T3, group_size=together
    )
    place_of = np.argsort(order_by_shared_face(faces_T3, 1))
    drawn = np.concatenate([sampler.rows(iteration) for iteration in range(1, 2 * size + 1)])
    for round_ in (drawn[:size], drawn[size:]):
        assert sorted(round_) == list(range(size))
        within = place_of[round_[: size // together * together]].reshape(-1, together)
        if together > 1:
            assert (np.diff(within, axis=1) % size == 1).all()  # the order is a ring


def test_groups_are_shuffled_anew_and_begin_elsewhere_in_every_round():
    type_T = np.arange(600) % 3
    faces_T3 = many_triplets(600, 60)
    sampler = TripletSampler(type_T, batch_size=600, seed=0, balance=True, faces_T3=faces_T3, group_size=10)
    first, second = ([[row for row in sampler.rows(k) if type_T[row] == kind] for kind in range(3)] for k in (1, 2))
    place_of = np.argsort(order_by_shared_face(faces_T3, 0))
    orders = [np.argsort(place_of[rows[::10]]).tolist() for rows in (*first, *second)]  # of the groups' first triplets
    assert len({tuple(order) for order in orders}) == 6  # no two types, no two rounds alike
    assert set(first[0][::10]) != set(second[0][::10])


@pytest.mark.parametrize("balance", [False, True])
def test_batches_show_fewer_faces(balance):
    faces_T3 = many_triplets(3000, 300)
    type_T = np.arange(3000) % 3

    def faces_a_batch(together):
        sampler = TripletSampler(type_T, batch_size=30, seed=0, balance=balance, faces_T3=faces_T3, group_size=together)
        return np.mean([len(np.unique(faces_T3[sampler.rows(iteration)])) for iteration in range(1, 101)])

    plain, *grouped = map(faces_a_batch, (1, 2, 5, 10))
    assert plain > grouped[0] > grouped[1] > grouped[2]
    assert grouped[2] < 0.85 * plain


def test_the_setting_reaches_the_loader_and_has_limits(tiny):
    dataset = PackedDataset(tiny)  # 40 triplets

    def images(together):
        options = [
            "DATA.TRIPLET_GROUP_SIZE",
            str(together),
            "SOLVER.BATCH_SIZE",
            "6",
            "DATA.BALANCE_TRIPLET_TYPES",
            "false",
        ]
        loader = build_loader(load_config(None, options), dataset, rank=0, world_size=1, device=torch.device("cpu"))
        return sum(len(batch.row_U) for _, (batch,) in loader(1, 5))

    assert images(6) < images(1)
    for wrong in (0, 11):
        expected = (
            rf"DATA\.TRIPLET_GROUP_SIZE: {wrong} triplets of 40; allowed here: 1\.\.10, so that there are 4 groups"
        )
        with pytest.raises(ValueError, match=expected):
            images(wrong)


def test_labelled_faces_have_no_triplets_to_keep_together(tiny):
    cfg = load_config(None, ["DATA.TRIPLET_GROUP_SIZE", "8"])
    expected = r"DATA\.TRIPLET_GROUP_SIZE: 8, but batches are made of labelled faces; allowed here: 1"
    with pytest.raises(ValueError, match=expected):
        build_loader(cfg, PackedDataset(tiny), rank=0, world_size=1, device=torch.device("cpu"), triplets=False)
