"""The measurement of models of raters runs; ranks by hand."""

import json

import pytest

from benchmarks import raters
from tests.conftest import ROOT
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)


def test_ranks_by_hand():
    assert raters.spearman([1, 2, 3, 4], [10, 20, 30, 31]) == pytest.approx(1)
    # ranks 1.5 1.5 3 and 1 2 3
    assert raters.spearman([5, 5, 9], [1, 2, 3]) == pytest.approx(1.5 / (1.5 * 2) ** 0.5)


@pytest.mark.usefixtures("inline_runs")
def test_a_quick_run_measures_every_variant(capsys):
    found = raters.run(quick=True)
    assert list(found["percent"]) == ["raters", "majority"]
    assert all(0 < of["by_seed"]["0"] < 100 for of in found["percent"].values())
    assert len(found["differences"]) == 1
    told = found["raters"]["0"]
    assert len(told["error"]) == len(told["ability"]) == len(told["reliability"]) == 12
    assert -1 <= told["spearman_ability"] <= 1 and told["spearman_reliability"] > 0.5
    assert 60 < told["majority_right_percent"] < 90
    assert capsys.readouterr().out


def test_the_page_says_what_was_measured():
    measured = json.loads((ROOT / "benchmarks/results/raters.json").read_text())["measured"]
    own, majority = (measured["percent"][name]["mean"] for name in ("raters", "majority"))
    (difference,) = measured["differences"]
    low, high = (difference["mean"] + sign * difference["margin"] for sign in (-1, 1))
    page = " ".join((ROOT / "docs/data.md").read_text().split())
    told = f"majorities {majority:.1f} %: {difference['mean']:.1f} points more (interval {low:.1f} to {high:.1f})"
    assert f"reaches {own:.1f} % of the true test triplets, the {told}, and more with every seed" in page
    assert min(difference["by_seed"].values()) > 0 and len(difference["by_seed"]) == 5
    assert min(of["spearman_ability"] for of in measured["raters"].values()) >= measured["required_spearman"]
