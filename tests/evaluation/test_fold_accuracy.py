"""Folds together: mean, spread and sum by hand; what is tested twice, never or not at all is said."""

import json

import numpy as np
import pytest

from fecnet.evaluation.classification import ClassAccuracy
from fecnet.evaluation.fold_accuracy import FoldAccuracy, count_tests, format_folds, format_tests, summarise_folds

CLASSES = ("a", "b")


def fold(number, confusion, seen_subjects=0):
    return FoldAccuracy(number, ClassAccuracy(CLASSES, np.array(confusion)), 10, seen_subjects)


def test_mean_spread_and_sum_by_hand():
    """3 of 4 and 10 of 10 right: mean 87.5, deviations ± 12.5, so sd √(2 · 12.5²) = 17.68; together 13 of 14."""
    summary = summarise_folds([fold(1, [[2, 1], [0, 1]]), fold(2, [[5, 0], [0, 5]])])
    assert summary["mean"]["accuracy"] == 87.5 and summary["sd"]["accuracy"] == pytest.approx(17.6777)
    assert summary["mean"]["mean_class_accuracy"] == pytest.approx((100 * (2 / 3 + 1) / 2 + 100) / 2, abs=1e-4)
    assert summary["together"]["confusion"] == [[7, 1], [0, 6]]
    assert summary["together"]["accuracy"] == pytest.approx(100 * 13 / 14, abs=1e-4)
    assert [found["accuracy"] for found in summary["folds"]] == [75.0, 100.0]
    json.dumps(summary, allow_nan=False)


def test_one_fold_has_no_spread():
    summary = summarise_folds([fold(3, [[2, 1], [0, 1]])])
    assert summary["mean"]["accuracy"] == 75.0 and set(summary["sd"].values()) == {None}
    assert "±" not in format_folds([fold(3, [[2, 1], [0, 1]])]).split("sd")[1].splitlines()[0]


def test_table_says_what_a_fold_does_not_test():
    text = format_folds([fold(1, [[2, 1], [0, 1]], 3), fold(2, [[5, 0], [0, 0]], None)])
    first, second, mean = (line.split() for line in text.splitlines()[1:4])
    assert first[:5] == ["1", "10", "4", "3", "75.0"] and second[:5] == ["2", "10", "5", "-", "100.0"]
    assert mean[3:6] == ["87.5", "±", "17.7"]
    assert "fold 2 tests no face of: b" in text and "fold 1 tests" not in text
    assert text.splitlines()[-1].startswith("accuracy 88.9")  # 8 of 9


def test_faces_tested_never_and_twice_are_counted():
    tests_FM = np.array([[1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 1, 1]], bool)
    tested = count_tests(tests_FM, np.array([0, 0, 0, 1, 1, -1]), CLASSES)
    assert tested == {"never": {"a": 1}, "once": {"a": 1, "b": 1}, "more": {"a": 1, "b": 1}}
    assert format_tests(tested) == "2 faces are tested once, 1 never (a 1), 2 more than once (a 1, b 1)"
    assert format_tests({"never": {}, "once": {"a": 3}, "more": {}}).endswith(
        "3 faces are tested once, none never or more than once"
    )
