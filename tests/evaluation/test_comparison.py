"""Paired differences by hand and by a permutation-free reference, and no claim where the interval contains zero."""

import math

import numpy as np
import pytest

from fecnet.evaluation.comparison import compare_settings, format_differences, format_settings, student_t

# two-sided 95 % points of Student's t, from any printed table
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 9: 2.262}


@pytest.mark.parametrize(("freedom", "point"), TABLE.items())
def test_points_are_those_of_the_printed_table(freedom, point):
    assert student_t(0.95, freedom) == pytest.approx(point, abs=5e-4)


def test_a_difference_by_hand():
    """Differences 1, 2, 3: mean 2, sd 1, half width 4.303 / √3 = 2.48, so 0 is inside."""
    (pair,) = compare_settings({"a": {0: 51, 1: 62, 2: 43}, "b": {0: 50, 1: 60, 2: 40}})
    assert pair.by_seed == {0: 1, 1: 2, 2: 3}
    assert (pair.mean, pair.sd) == (2, 1)
    assert pair.margin == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert pair.verdict == "no difference shown (interval -0.48 to +4.48)"


def test_a_claim_says_who_is_better_in_either_order():
    figures = {"a": {0: 50.0, 1: 60.0, 2: 40.0}, "b": {0: 53.0, 1: 63.1, 2: 42.9}}
    (pair,) = compare_settings(figures)
    assert pair.verdict == "b better than a by 3.00 (interval 2.75 to 3.25)"
    (turned,) = compare_settings(dict(reversed(figures.items())))
    assert turned.verdict == pair.verdict and turned.mean == -pair.mean
    assert "±" not in format_differences([pair])  # which is the standard deviation in the table above it


def test_pairs_are_by_seed_so_what_seeds_share_does_not_hide_a_difference():
    """Seeds 20 apart, differences of about 1: unpaired, the interval would contain zero."""
    figures = {"a": {0: 40.0, 1: 60.0, 2: 80.0}, "b": {2: 79.1, 0: 39.0, 1: 58.9}}
    (pair,) = compare_settings(figures)
    assert pair.verdict.startswith("a better than b by 1.00")
    stats = pytest.importorskip("scipy.stats")  # here: a second for those who run other tests
    test = stats.ttest_rel([40, 60, 80], [39, 58.9, 79.1]).confidence_interval(0.95)
    assert (pair.mean - pair.margin, pair.mean + pair.margin) == pytest.approx((test.low, test.high))


def test_intervals_of_many_pairs_hold_together():
    """Where no setting differs, at most one comparison in twenty may claim anything; single 95 % ones claim more."""
    rng = np.random.default_rng(0)
    false, single, rounds = 0, 0, 400
    for _ in range(rounds):
        figures = {name: dict(enumerate(rng.normal(60, 1, 5))) for name in "abcd"}
        pairs = compare_settings(figures)
        assert len(pairs) == 6
        false += any("better" in pair.verdict for pair in pairs)
        single += any(abs(pair.mean) > student_t(0.95, 4) * pair.sd / math.sqrt(5) for pair in pairs)
    assert false / rounds < 0.07 < single / rounds


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({0: 50.0}, {0: 60.0}, "no verdict: 1 common seed, an interval needs two or more"),
        ({0: 50.0, 1: 51.0}, {2: 60.0, 3: 61.0}, "no verdict: 0 common seeds, an interval needs two or more"),
        ({0: 50.0, 1: 60.0}, {0: 40.0, 1: 50.0}, "no verdict: the difference is identical for all seeds"),
        ({0: 50.0, 1: 60.0}, {0: 50.0, 1: 60.0}, "no difference shown (interval +0.00 to +0.00)"),
    ],
)
def test_no_verdict_without_an_interval(first, second, said):
    (pair,) = compare_settings({"a": first, "b": second})
    assert pair.verdict.startswith(said)
    assert said[:10] in format_differences([pair])


def test_tables_show_mean_and_sd():
    columns = {
        "val": {"a": {0: 1.0, 1: 3.0}, "long name": {0: 5.0}},
        "test": {"a": {0: 10, 1: 10}, "long name": {0: 7}},
    }
    assert format_settings(columns).splitlines() == [
        "setting    seeds          val          test",
        "a              2  2.00 ± 1.41  10.00 ± 0.00",
        "long name      1     5.00 ± -      7.00 ± -",
    ]
