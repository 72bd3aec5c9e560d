"""The measurement of the deviation head's identity leak runs."""

import pytest

from benchmarks import identity_leak
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)


@pytest.mark.usefixtures("inline_runs")
def test_a_quick_run_measures_both_heads(capsys):
    found = identity_leak.run(quick=True)["synthetic"]
    assert list(found["by_seed"]) == ["plain", "deviation"] and len(found["differences"]) == 1
    for (one,) in found["by_seed"].values():
        assert 0 < one["percent"] < 100 and 0 <= one["same_person"] <= 100
        assert one["leak"] == pytest.approx(one["same_person"] - one["chance"], abs=2e-3)
    assert capsys.readouterr().out
