"""A metric refuses outputs that are not finite, and names the first such face and a split that holds it."""

import numpy as np
import pytest
import torch

from fecnet.data.packed import TripletTable
from fecnet.engine.evaluator import AffectMetric, ClassMetric, TripletMetric

VAL, TEST = np.array([3, 4, 5]), np.array([9, 7, 5])


def metrics():
    labels, affect = np.zeros(3, np.int64), np.zeros((3, 2), np.float32)
    rest = (np.array([0]), np.array([0]), np.zeros((1, 3), np.uint8))
    return [
        ClassMetric({"val": (VAL, labels), "test": (TEST, labels)}, ("calm", "glad")),
        AffectMetric({"val": (VAL, affect), "test": (TEST, affect)}),
        TripletMetric({"val": TripletTable(VAL[None], *rest), "test": TripletTable(TEST[None], *rest)}),
    ]


@pytest.mark.parametrize("metric", metrics(), ids=lambda metric: metric.output)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("row", "split"), [(7, "test"), (5, "val")])
def test_the_first_face_is_named_with_its_split(metric, value, row, split):
    output = torch.zeros(len(metric.rows), 2)
    output[np.searchsorted(metric.rows, row), 1] = value
    output[np.searchsorted(metric.rows, 9), 0] = value
    with pytest.raises(ValueError) as error:
        metric.measure(output)
    assert str(error.value) == (
        f"split '{split}': face {row} (row of faces.npy): the net's '{metric.output}' is not finite, "
        "as for 2 of 5 faces; allowed: finite numbers"
    )
