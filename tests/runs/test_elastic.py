"""What another number of processes means is told by the net: what is of a process's share, and what is not."""

import pytest
from torch import nn

from fecnet.runs.elastic import process_change

SAME = "saved by 3 process(es), continues with 2: the same global batches of 90, "


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (
            [nn.Linear(2, 2), nn.Dropout(0.0), nn.BatchNorm2d(2).eval(), nn.SyncBatchNorm(2)],
            "updates equal within round",
        ),
        ([nn.Dropout(0.1)], "but each process's share has its own dropout, so updates differ by more than rounding"),
        (
            [nn.BatchNorm2d(2), nn.Dropout2d(0.5)],
            "but each process's share has its own batch norm statistics and dropout, so",
        ),
    ],
)
def test_what_is_of_a_share(layers, told):
    assert process_change(3, 2, 90, nn.ModuleList(layers)).startswith(SAME + told)
    assert process_change(2, 2, 90, nn.ModuleList(layers)) == ""
