"""The scales of batch norms, counted by hand."""

import pytest
import torch

from fecnet.evaluation.scales import SCALE_EDGES, scale_metrics


def test_figures_by_hand():
    scales = torch.tensor([0.0, 0.004, 0.011, 0.03, 0.99, 1.5, 7.0])
    found = scale_metrics(scales)
    assert found["scales/mean"] == pytest.approx(float(scales.mean()), abs=1e-6)
    assert found["scales/below_0.01"] == pytest.approx(2 / 7, abs=1e-6)
    counts = found["scales/histogram"]
    assert len(counts) == len(SCALE_EDGES) - 1 == 60
    # bins of 0.025: three in the first, 0.03 in the second, 0.99 in [0.975, 1), 1.5 and all above in the last
    assert {place: count for place, count in enumerate(counts) if count} == {0: 3, 1: 1, 39: 1, 59: 2}
