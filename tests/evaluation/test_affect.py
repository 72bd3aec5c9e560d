"""Concordance and error against plain formulas."""

import math

import numpy as np
import pytest
import torch

from fecnet.evaluation.affect import affect_accuracy, format_affect

NAN = float("nan")


def test_concordance_and_error_equal_the_plain_formulas():
    rng = np.random.default_rng(0)
    target = rng.uniform(-1, 1, (50, 2)).astype(np.float32)
    predicted = torch.from_numpy((target * 0.5 + 0.2 + rng.normal(0, 0.1, (50, 2))).astype(np.float32))
    target[7] = NAN
    found = affect_accuracy(predicted, target)
    assert found.num_faces == 49
    for k in (0, 1):
        x, y = (np.delete(values[:, k], 7).astype(float) for values in (predicted.numpy(), target))
        correlation = np.corrcoef(x, y)[0, 1]
        ccc = 2 * correlation * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
        assert found.ccc[k] == pytest.approx(ccc)
        assert found.rmse[k] == pytest.approx(math.sqrt(sum((x - y) ** 2) / 49))
    figures = found.metrics()
    assert figures["ccc"] == pytest.approx((figures["valence_ccc"] + figures["arousal_ccc"]) / 2, abs=1e-4)
    assert figures["valence_ccc"] == pytest.approx(100 * found.ccc[0], abs=1e-4)
    assert format_affect(found).splitlines()[1].split() == ["valence", f"{found.ccc[0]:.3f}", f"{found.rmse[0]:.3f}"]


def test_perfect_is_1_and_nothing_known_is_nothing():
    target = np.array([[0.1, -0.5], [0.9, 0.3]], np.float32)
    assert affect_accuracy(torch.from_numpy(target), target).ccc == pytest.approx((1, 1))
    unknown = affect_accuracy(torch.zeros(2, 2), np.full((2, 2), NAN))
    assert set(unknown.metrics().values()) == {None} and unknown.num_faces == 0
    with pytest.raises(ValueError, match="the valence and arousal of face 1 are not finite"):
        affect_accuracy(torch.tensor([[0, 0], [NAN, 0]]), target)
