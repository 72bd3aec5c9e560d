"""Expected calibration error against a naive loop and by hand."""

import numpy as np
import pytest
import torch

from fecnet.evaluation.calibration import calibration


def logits_of(confidence):
    """Two classes, the second called with this probability."""
    confidence = torch.tensor(confidence, dtype=torch.float64)
    return torch.stack([torch.zeros_like(confidence), torch.log(confidence / (1 - confidence))], 1)


def test_error_equals_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    logits_NK = 3 * torch.randn(300, 5, generator=generator)
    label_N = torch.randint(-1, 5, (300,), generator=generator).numpy()
    bins = [[] for _ in range(15)]
    for logits, label in zip(logits_NK.double(), label_N, strict=True):
        if label >= 0:
            probability = logits.exp() / logits.exp().sum()
            confidence, called = float(probability.max()), int(probability.argmax())
            (place,) = [b for b in range(15) if b / 15 < confidence <= (b + 1) / 15]
            bins[place].append((confidence, called == label))
    num = sum(map(len, bins))
    gaps = [abs(np.mean([c for c, _ in held]) - np.mean([r for _, r in held])) * len(held) for held in bins if held]
    found = calibration(logits_NK, label_N)
    assert found.count_B.tolist() == [len(held) for held in bins] and found.count_B.sum() == (label_N >= 0).sum()
    assert found.ece() == pytest.approx(100 * sum(gaps) / num)
    for described, held in zip(found.to_dict()["bins"], bins, strict=True):
        assert described["count"] == len(held)
        assert described["accuracy"] == (pytest.approx(np.mean([r for _, r in held]), abs=1e-6) if held else None)


def test_error_by_hand():
    # two bins, 0..0.5 and 0.5..1; of four faces called with 0.9, 0.9, 0.8, 0.6 three are right: |0.8 - 0.75|
    found = calibration(logits_of([0.9, 0.9, 0.8, 0.6, 0.7]), np.array([1, 1, 0, 1, -1]), num_bins=2)
    assert found.count_B.tolist() == [0, 4]
    assert found.ece() == pytest.approx(5.0)
    assert found.text() == (
        "calibration: ECE 5.0 over 2 bins of equal width; mean confidence 80.0, accuracy 75.0: overconfident"
    )
    assert found.to_dict()["bins"][0] == {"count": 0, "confidence": None, "accuracy": None}


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    found = calibration(torch.zeros(3, 2), np.array([0, 0, 1]), num_bins=4)  # 0.5, the upper end of the second bin
    assert found.count_B.tolist() == [0, 3, 0, 0]


def test_without_labels_there_is_no_error():
    found = calibration(torch.zeros(2, 3), np.array([-1, -1]))
    assert found.ece() is None and found.to_dict()["confidence"] is None
    assert found.text() == "calibration: no face"
