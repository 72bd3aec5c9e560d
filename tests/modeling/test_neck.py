import pytest
import torch

from fecnet.modeling.neck.necks import Conv1x1Neck, Conv3x3Neck, DenseBlockNeck


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def dense_block_count():
    total = 0
    for i in range(5):
        channels = 512 + 64 * i
        total += 2 * channels + channels * 256 + 2 * 256 + 256 * 64 * 9
    return total


@pytest.mark.parametrize(
    ("neck", "out_channels", "count"),
    [
        (DenseBlockNeck, 832, 1024 * 512 + dense_block_count() + 2 * 832),
        (Conv3x3Neck, 512, 1024 * 512 + 512 * 512 * 9 + 2 * 512),
        (Conv1x1Neck, 512, 1024 * 512 + 2 * 512),
    ],
)
def test_counts_channels_and_range(neck, out_channels, count):
    net = neck(1024)
    assert net.out_channels == out_channels
    assert num_parameters(net) == count
    out = net(torch.randn(4, 1024, 3, 2) * 10)
    assert out.shape == (4, out_channels, 3, 2)
    assert out.min() == 0
    assert out.max() <= 6


def test_reduction_width_is_a_setting():
    assert DenseBlockNeck(32, 64).out_channels == 64 + 5 * 64
    assert Conv3x3Neck(32, 64).out_channels == 64
