"""Densely connected layers (arXiv:1608.06993): each layer takes all preceding feature maps as input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DenseLayer(nn.Module):
    """BN-ReLU6-conv 1×1, BN-ReLU6-conv 3×3; the result is appended to the input.

    Args:
        in_channels: channels of the input.
        growth: channels appended.
        width: channels between the two convolutions.
    """

    def __init__(self, in_channels: int, growth: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, growth, kernel_size=3, padding=1, bias=False)
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, in_channels + growth, H, W)."""
        new_NCHW = self.conv1(self.relu(self.norm1(map_NCHW)))
        new_NCHW = self.conv2(self.relu(self.norm2(new_NCHW)))
        return torch.cat((map_NCHW, new_NCHW), dim=1)


class DenseBlock(nn.Sequential):
    """``num_layers`` dense layers; ``out_channels`` is the input's channels plus the growth of each layer.

    Args:
        in_channels: channels of the input.
        num_layers: number of layers.
        growth: channels appended by each layer; one number, or one per layer.
        width: channels of each layer's 1×1 convolution; one number, or one per layer.
    """

    def __init__(
        self, in_channels: int, num_layers: int, growth: int | Sequence[int], width: int | Sequence[int]
    ) -> None:
        growths = [growth] * num_layers if isinstance(growth, int) else list(growth)
        widths = [width] * num_layers if isinstance(width, int) else list(width)
        before = [in_channels + sum(growths[:i]) for i in range(num_layers + 1)]
        super().__init__(*(DenseLayer(before[i], growths[i], widths[i]) for i in range(num_layers)))
        self.out_channels = before[-1]
