"""Triplets that the net gets wrong are drawn more often: as a loop says, within both ceilings, without a generator."""

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.build import build_loader
from fecnet.data.hard_sampler import HardTripletSampler
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.data.permutation import permuted
from fecnet.data.samplers import TripletSampler

SIZES = [50, 9, 31]  # triplets of each type
BATCH, SEED = 10, 3
OPTIONS = [{"balance": balance, "group_size": size} for balance in (True, False) for size in (1, 2)]


def table_of(votes_T3=None):
    type_T = np.repeat([0, 1, 2], SIZES).astype(np.int8)
    faces_T3 = np.random.default_rng(0).integers(0, 25, (len(type_T), 3)).astype(np.int32)
    odd_T = (np.arange(len(type_T)) % 3).astype(np.int8)
    return TripletTable(faces_T3, odd_T, type_T, np.zeros_like(faces_T3, np.uint8) if votes_T3 is None else votes_T3)


def plain(**options):
    table = table_of()
    return TripletSampler(table.type_T, faces_T3=table.faces_T3, **{"batch_size": BATCH, "seed": SEED} | options)


def hard(table=None, *, share=0.4, ceiling=3.0, balance=True, **options):
    options = {"batch_size": BATCH, "seed": SEED, "balance": balance} | options
    return HardTripletSampler(table or table_of(), share=share, ceiling=ceiling, **options)


def rows(sampler, last, first=1):
    return np.stack([sampler.rows(iteration) for iteration in range(first, last + 1)])


def wrong_of(number, seed=1):
    """So many triplets of each type."""
    wrong_T, rng = np.zeros(sum(SIZES), bool), np.random.default_rng(seed)
    for first, size in zip(np.cumsum([0, *SIZES]), SIZES, strict=False):
        wrong_T[first + rng.permutation(size)[: min(number, size)]] = True
    return wrong_T


@pytest.mark.parametrize("options", OPTIONS)
def test_while_nothing_is_known_to_be_wrong_the_draws_are_the_plain_ones(options):
    sampler = hard(**options)
    assert (rows(sampler, 40) == rows(plain(**options), 40)).all() and sampler.share == 0
    sampler.favour(wrong_of(7))
    assert (rows(sampler, 40) != rows(plain(**options), 40)).any() and sampler.share > 0
    sampler.favour(np.zeros(sum(SIZES), bool))
    assert (rows(sampler, 40) == rows(plain(**options), 40)).all()


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("number", [1, 5, 9])
def test_draws_are_those_of_a_loop(number, share):
    wrong_T, type_T = wrong_of(number), table_of().type_T
    sampler = hard(share=share)
    sampler.favour(wrong_T)
    drawn, expected = rows(sampler, 70).reshape(-1), rows(plain(balance=True), 70).reshape(-1)
    for kind, size in enumerate(SIZES):
        pool = np.flatnonzero(wrong_T & (type_T == kind)).tolist()
        part = share
        if 1 + part * size / len(pool) > 3:  # in a round of all, where it is drawn once anyway
            part = 2.0 * len(pool) / size
        given, round_ = 0, []
        for turn, slot in enumerate(range(kind, len(drawn), 3)):
            if int((turn + 1) * part) > given:
                number_of_round, place = divmod(given, len(pool))
                if not place:
                    key = (SEED * 1_000_003 + 3 + kind) * 1_000_003 + number_of_round
                    round_ = [pool[k] for k in permuted(np.arange(len(pool)), len(pool), key)]
                expected[slot] = round_[place]
                given += 1
    assert drawn.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("number", "ceiling", "options"),
    [(1, 3.0, OPTIONS[1]), (4, 1.5, OPTIONS[0]), (4, 3.0, OPTIONS[3]), (9, 3.0, OPTIONS[2])],
)
def test_no_triplet_is_drawn_more_often_than_the_ceiling_and_none_is_lost(number, ceiling, options):
    wrong_T = wrong_of(number)
    sampler = hard(share=0.5, ceiling=ceiling, **options)
    sampler.favour(wrong_T)
    drawn, by_chance = rows(sampler, 400), rows(plain(**options), 400)
    times, chance = (np.bincount(slots.reshape(-1), minlength=sum(SIZES)) for slots in (drawn, by_chance))
    assert (times <= ceiling * chance + 2).all() and times.min() > 0  # rounds that have begun
    assert (drawn != by_chance).mean() == pytest.approx(sampler.share, abs=0.05)
    assert times[~wrong_T].sum() == pytest.approx(chance[~wrong_T].sum() * (1 - sampler.share), rel=0.1)
    if number < 9:  # so few that the ceiling is reached
        assert (times / chance)[wrong_T].mean() == pytest.approx(ceiling - sampler.share, rel=0.05)


def test_the_share_shrinks_where_few_are_wrong():
    sampler = hard(share=0.5, ceiling=3.0, balance=False)
    for number, share in ((0, 0), (3, 2 * 9 / 90), (9, 0.5), (100, 0.5)):
        sampler.favour(wrong_of(number))
        assert sampler.share == pytest.approx(share)


def test_favoured_ones_come_in_rounds_and_evenly_over_the_slots():
    sampler = hard(share=0.25, balance=False, batch_size=8)
    wrong_T = wrong_of(9)
    sampler.favour(wrong_T)
    differ = rows(sampler, 60) != rows(plain(balance=False, batch_size=8), 60)
    assert differ.reshape(-1, 4).sum(1).max() == 1  # any share of the batch has as many as another
    added = rows(sampler, 60).reshape(-1)[3::4]  # every fourth: the first after a quarter of four
    assert wrong_T[added].all()
    assert sorted(added[:27]) == sorted(added[27:54]) == np.flatnonzero(wrong_T).tolist()


def test_triplets_on_which_raters_are_split_are_never_favoured():
    table = table_of(np.zeros((sum(SIZES), 3), np.uint8))
    own = {0: (0, 0), 1: (0, 1), 2: (5, 1), 3: (4, 2), 4: (200, 100), 5: (201, 100), 6: (3, 2), 7: (1, 0)}
    for triplet, (agree, other) in own.items():
        odd = table.odd_T[triplet]
        table.votes_T3[triplet, [odd, (odd + 1) % 3]] = agree, other
    sampler = hard(table, share=0.6)
    sampler.favour(np.arange(sum(SIZES)) < len(own))
    assert np.flatnonzero(sampler.state_dict()["favoured_T"]).tolist() == [0, 2, 5, 7]  # of sums above 255 too


@pytest.mark.parametrize("options", OPTIONS)
def test_draws_are_a_function_of_seed_iteration_and_what_is_wrong(options):
    sampler = hard(**options)
    first = rows(sampler, 20)
    sampler.favour(wrong_of(7))
    later = rows(sampler, 60, first=21)
    assert (first == rows(plain(**options), 20)).all()
    other = hard(**options)  # as after a resume
    other.load_state_dict(sampler.state_dict())
    assert (other.rows(60) == later[-1]).all() and (rows(other, 60, first=21) == later).all()
    assert other.share == sampler.share
    other = hard(seed=SEED + 1, **options)
    other.favour(wrong_of(7))
    assert (rows(other, 60, first=21) != later).any()


@pytest.mark.parametrize("state", [torch.zeros(4, dtype=torch.bool), torch.zeros(sum(SIZES))])
def test_a_state_of_other_triplets_is_refused(state):
    with pytest.raises(ValueError, match=r"'favoured_T' is .*; allowed: bool of shape \(90,\)"):
        hard().load_state_dict({"favoured_T": state})


BAD = {
    "a share of all": (["DATA.HARD_TRIPLETS", "1.0"], r"DATA\.HARD_TRIPLETS: 1\.0; allowed: 0 or more, below 1"),
    "a share below 0": (["DATA.HARD_TRIPLETS", "-0.1"], r"DATA\.HARD_TRIPLETS: -0\.1; allowed: 0 or more, below 1"),
    "no number": (["DATA.HARD_TRIPLETS", ".nan"], r"'DATA\.HARD_TRIPLETS' must be a finite number, found nan"),
    "a ceiling of 1": (
        ["DATA.HARD_TRIPLETS", "0.2", "DATA.HARD_TRIPLETS_CEILING", "1.0"],
        r"DATA\.HARD_TRIPLETS_CEILING: 1\.0; allowed: any number above 1",
    ),
    "raters who are always split": (
        ["DATA.HARD_TRIPLETS", "0.2"],
        r"DATA\.HARD_TRIPLETS: 0\.2, but more than two thirds of the raters agree on none of 40 triplets; allowed",
    ),
    "a ceiling that is not used": (
        ["DATA.HARD_TRIPLETS_CEILING", "5.0"],
        r"DATA\.HARD_TRIPLETS_CEILING: 5\.0 is not used without DATA\.HARD_TRIPLETS; allowed here: 3\.0",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_settings_are_one_line(tiny, what):
    options, said = BAD[what]
    with pytest.raises(ValueError, match=said) as error:
        cfg = load_config(None, [*options, "SOLVER.BATCH_SIZE", "6"])
        build_loader(cfg, PackedDataset(tiny), rank=0, world_size=1, device=torch.device("cpu"))
    assert "\n" not in str(error.value)


def test_labelled_faces_are_no_hard_triplets(tiny):
    cfg = load_config(None, ["DATA.HARD_TRIPLETS", "0.3"])
    said = r"DATA\.HARD_TRIPLETS: 0\.3, but batches are made of labelled faces; allowed here: 0"
    with pytest.raises(ValueError, match=said):
        build_loader(cfg, PackedDataset(tiny), rank=0, world_size=1, device=torch.device("cpu"), triplets=False)
