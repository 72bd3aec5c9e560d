"""The Inception block of FaceNet's NN2 (arXiv:1503.03832, table 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fecnet.layers.conv_bn import ConvBNReLU
from fecnet.layers.l2 import L2Pool


@dataclass(frozen=True)
class InceptionWidths:
    """Widths of one block, a row of the table in the paper; in channels.

    Attributes:
        one: output of the 1×1 branch; 0 = no such branch.
        reduce_three: 1×1 convolution before the 3×3 one.
        three: output of the 3×3 branch.
        reduce_five: 1×1 convolution before the 5×5 one.
        five: output of the 5×5 branch.
        pool: 1×1 convolution after the pooling; 0 = none.
        l2_pool: L2 pooling instead of max pooling.
        stride: stride of the 3×3 branch, the 5×5 branch and the pooling, pixels.
    """

    one: int
    reduce_three: int
    three: int
    reduce_five: int
    five: int
    pool: int
    l2_pool: bool = False
    stride: int = 1


class InceptionBlock(nn.Module):
    """Parallel 1×1, 3×3, 5×5 and pooling branches, concatenated along the channels.

    Args:
        in_channels: channels of the input.
        widths: channels of the branches.
        batch_norm: batch norm after every convolution.
    """

    def __init__(self, in_channels: int, widths: InceptionWidths, *, batch_norm: bool) -> None:
        super().__init__()
        assert not (widths.l2_pool and widths.stride != 1), "no row of the table has L2 pooling with a stride"

        def conv(channels: int, out_channels: int, size: int, stride: int = 1) -> ConvBNReLU:
            return ConvBNReLU(channels, out_channels, size, stride=stride, padding=size // 2, batch_norm=batch_norm)

        w = widths
        self.branches = nn.ModuleDict()
        if w.one:
            self.branches["one"] = conv(in_channels, w.one, 1)
        self.branches["three"] = nn.Sequential(
            conv(in_channels, w.reduce_three, 1), conv(w.reduce_three, w.three, 3, w.stride)
        )
        self.branches["five"] = nn.Sequential(
            conv(in_channels, w.reduce_five, 1), conv(w.reduce_five, w.five, 5, w.stride)
        )
        pool = L2Pool() if w.l2_pool else nn.MaxPool2d(3, stride=w.stride, padding=1)
        self.branches["pool"] = nn.Sequential(pool, conv(in_channels, w.pool, 1)) if w.pool else pool
        self.out_channels = w.one + w.three + w.five + (w.pool or in_channels)

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        return torch.cat([branch(map_NCHW) for branch in self.branches.values()], dim=1)
