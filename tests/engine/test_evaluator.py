"""A judge refuses outputs that are not finite, and names the first such face and a split that holds it."""

import numpy as np
import pytest
import torch

from fecnet.engine.evaluator import AffectJudge, ClassJudge, TripletJudge

VAL, TEST = np.array([3, 4, 5]), np.array([9, 7, 5])


def judges():
    labels, affect = np.zeros(3, np.int64), np.zeros((3, 2), np.float32)
    kind = (np.array([0]), np.array([0]))
    return [
        ClassJudge({"val": (VAL, labels), "test": (TEST, labels)}, ("calm", "glad")),
        AffectJudge({"val": (VAL, affect), "test": (TEST, affect)}),
        TripletJudge({"val": (VAL[None], *kind), "test": (TEST[None], *kind)}),
    ]


@pytest.mark.parametrize("judge", judges(), ids=lambda judge: judge.output)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("row", "split"), [(7, "test"), (5, "val")])
def test_the_first_face_is_named_with_its_split(judge, value, row, split):
    output = torch.zeros(len(judge.rows), 2)
    output[np.searchsorted(judge.rows, row), 1] = value
    output[np.searchsorted(judge.rows, 9), 0] = value
    with pytest.raises(ValueError) as error:
        judge.judge(output)
    assert str(error.value) == (
        f"split '{split}': face {row} (row of faces.npy): the net's '{judge.output}' is not finite, "
        "as for 2 of 5 faces; allowed: finite numbers"
    )
