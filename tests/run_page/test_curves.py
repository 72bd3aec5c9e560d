"""Curves: round ticks, points where the arithmetic says, nothing drawn of what is not finite."""

import json
import re

import pytest

from fecnet.run_page.curves import (
    _BOTTOM,
    _HEIGHT,
    _LEFT,
    _RIGHT,
    _TOP,
    _WIDTH,
    line_chart,
    nice_ticks,
    points,
    reliability_chart,
    run_curves,
    tick,
)
from fecnet.run_page.run_record import RunRecord


@pytest.fixture
def record(tmp_path):
    """A run that has logged these lines."""

    def write(*metrics):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
        return RunRecord(tmp_path)

    return write


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.13, 0.87, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 0.003, [0, 0.001, 0.002, 0.003]),
        (97.2, 98.1, [97.2, 97.4, 97.6, 97.8, 98.0, 98.2]),
        (5, 5, [2, 3, 4, 5, 6, 7, 8]),  # one value: room around it
        (0, 0, [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_round_and_enclose(least, most, ticks):
    assert nice_ticks(least, most) == pytest.approx(ticks)


def test_points_stand_where_the_arithmetic_says():
    chart = line_chart("x", {"a": [(0, 0.0), (5, 5.0), (10, 10.0)]})
    placed = re.search(r'<polyline points="([^"]+)"', chart)[1].split()
    left, right, bottom, top = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, _TOP
    wanted = [(left, bottom), ((left + right) / 2, (bottom + top) / 2), (right, top)]
    assert [tuple(map(float, point.split(","))) for point in placed] == [pytest.approx(point) for point in wanted]


def test_what_is_not_a_finite_number_is_no_point(record):
    values = (1.5, float("nan"), float("inf"), None, "2", 3)
    run = record(*({"iteration": n, "loss": value} for n, value in enumerate(values)), {"iteration": 9})
    assert points(run, "loss") == [(0, 1.5), (5, 3)]
    assert line_chart("loss", {"a": []}) is None


def test_a_term_that_is_the_whole_loss_is_not_drawn_twice(record):
    same = run_curves(record({"iteration": 1, "loss": 2.0, "triplet": 2.0, "lr": 0.1}))
    assert "triplet" not in same and "Learning rate" in same and "relabelled" not in same
    two = run_curves(
        record({"iteration": 1, "loss": 3.0, "triplet": 2.0, "votes": 1.0}, {"iteration": 1, "val/ALL": 5})
    )
    batches = run_curves(record({"iteration": 1, "loss": 2.0, "cross_entropy": 2.0, "batch_accuracy": 40.0}))
    loss, accuracy = batches.split("<figcaption>")[1:]
    assert loss.startswith("Loss") and "accuracy" not in loss and accuracy.startswith("Accuracy on training batches")
    assert "triplet" in two and "votes" in two and "Metrics on val, %" in two


def test_triplets_that_are_wrong_are_no_loss(record):
    asked = {"wrong_triplets": 31.0, "hard_draws": 20.0}
    loss, rate, hard = run_curves(record({"iteration": 1, "loss": 2.0, "lr": 0.1}, {"iteration": 1} | asked)).split(
        "<figcaption>"
    )[1:]
    assert "wrong" not in loss + rate and hard.startswith("Training triplets that the net gets wrong")
    assert "wrong triplets" in hard and "hard draws" in hard


def test_a_long_run_is_thinned_and_keeps_its_end():
    chart = line_chart("x", {"a": [(n, float(n)) for n in range(100_001)]})
    placed = re.search(r'<polyline points="([^"]+)"', chart)[1].split()
    assert 700 < len(placed) <= 1500
    assert placed[-1] == f"{_WIDTH - _RIGHT:.1f},{_TOP:.1f}"


def test_reliability_is_accuracy_by_confidence_of_the_bins_with_faces():
    bins = [
        {"count": 0, "confidence": None, "accuracy": None},
        {"count": 3, "confidence": 0.5, "accuracy": 0.25},
        {"count": 1, "confidence": 1.0, "accuracy": 1.0},
    ]
    chart = reliability_chart({"ece": 18.75, "bins": bins})
    assert "ECE 18.75" in chart and "by confidence" in chart
    left, right, bottom, top = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, _TOP
    measured, diagonal = (
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'<polyline points="([^"]+)"', chart)
    )
    assert diagonal == [(left, bottom), (right, top)]
    assert measured == [pytest.approx(((left + right) / 2, bottom - (bottom - top) / 4)), pytest.approx((right, top))]
    assert reliability_chart({"ece": None, "bins": bins[:1]}) is None


def test_names_are_escaped():
    assert "<u>" not in line_chart("<u>", {"<u>": [(1, 1.0)]})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.0025, "0.0025"),
        (0.00025, "2.5e-4"),
        (-5e-5, "-5e-5"),
        (0.3 + 0.6, "0.9"),
        (1234, "1,234"),
        (120_000, "120,000"),
        (2e6, "2e6"),
    ],
)
def test_numbers_on_an_axis_are_short(value, said):
    assert tick(value) == said
