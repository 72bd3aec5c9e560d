"""The measurement of choice against hinge runs."""

import pytest

from benchmarks import choices
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)


@pytest.mark.usefixtures("inline_runs")
def test_a_quick_run_measures_both_criteria(capsys):
    found = choices.run(quick=True)["demo"]
    assert list(found["settings"]) == ["hinge", "choice"] and len(found["differences"]) == 1
    for of in found["settings"].values():
        (one,) = of["by_seed"]
        assert one == of["mean"] and 0 < one["percent"] < 100
        assert 0 <= one["ece"] <= 1 and one["log_likelihood"] < 0
        assert one["log_likelihood_fitted"] > -1.2  # the scale of another split: near chance or better
    hinge, choice = (found["settings"][name]["mean"]["scale"] for name in ("hinge", "choice"))
    assert hinge == 4.0 and choice != 4.0  # learned in three steps
    assert capsys.readouterr().out
