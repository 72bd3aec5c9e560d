"""Counts of classes against a naive loop, and the table's hand arithmetic."""

import numpy as np
import pytest
import torch

from fecnet.evaluation.classification import class_accuracy, format_classes

CLASSES = ("calm", "glad", "cross", "proud")


def test_counts_equal_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    logits_NK = torch.randn(200, 4, generator=generator)
    label_N = torch.randint(-1, 3, (200,), generator=generator).numpy()
    found = class_accuracy(logits_NK, label_N, CLASSES)
    confusion = [[0] * 4 for _ in range(4)]
    for logits, label in zip(logits_NK.tolist(), label_N.tolist(), strict=True):
        if label >= 0:
            confusion[label][logits.index(max(logits))] += 1
    assert found.confusion_KK.tolist() == confusion
    assert found.to_dict()["total"] == [int((label_N == k).sum()) for k in range(4)]


def test_figures_by_hand():
    # calm: 3 of 4 right, one called glad; glad: 1 of 2, one called calm; cross: none of 2, both called proud
    label_N = np.array([0, 0, 0, 0, 1, 1, 2, 2, -1])
    called = [0, 0, 0, 1, 1, 0, 3, 3, 2]
    found = class_accuracy(torch.eye(4)[called], label_N, CLASSES)
    assert found.recall_K()[:3].tolist() == [75, 50, 0] and np.isnan(found.recall_K()[3])
    assert found.precision_K()[[0, 1, 3]].tolist() == [75, 50, 0] and np.isnan(found.precision_K()[2])
    # F1: 2·3/(4+4), 2·1/(2+2), 0/(2+0); proud has no face and stands in no mean
    assert found.metrics() == {
        "accuracy": 50.0,
        "mean_class_accuracy": pytest.approx((75 + 50 + 0) / 3, abs=1e-4),
        "macro_f1": pytest.approx((75 + 50 + 0) / 3, abs=1e-4),
    }
    lines = format_classes(found).splitlines()
    assert lines[1].split() == ["0", "calm", "4", "75.0", "75.0", "75.0", "|", "3", "1", "0", "0"]
    assert lines[4].split() == ["3", "proud", "0", "-", "0.0", "0.0", "|", "0", "0", "0", "0"]
    assert lines[5].startswith("accuracy 50.0  mean class accuracy 41.7  macro f1 41.7  of 8 faces")
    assert lines[5].endswith("(always predicting the largest class: 50.0)")


def test_nothing_labelled_has_no_figures():
    found = class_accuracy(torch.zeros(2, 4), np.array([-1, -1]), CLASSES)
    assert set(found.metrics().values()) == {None}
    assert "accuracy -" in format_classes(found)


def test_logits_that_are_not_finite_are_an_error():
    logits_NK = torch.zeros(3, 4)
    logits_NK[1, 2] = float("nan")
    with pytest.raises(ValueError, match="the logits of face 1 are not finite"):
        class_accuracy(logits_NK, np.zeros(3, np.int64), CLASSES)


def test_confusion_in_per_cent_of_the_label():
    found = class_accuracy(torch.eye(4)[[0, 1, 1, 3]], np.array([0, 0, 0, 3]), CLASSES)
    percent = found.confusion_percent()
    assert percent[0].tolist() == [pytest.approx(100 / 3), pytest.approx(200 / 3), 0, 0]
    assert np.isnan(percent[1]).all() and percent[3].tolist() == [0, 0, 0, 100]
