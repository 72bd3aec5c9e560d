"""The necks of the expression embedding: 1×1 reduction, a body, then BN and ReLU6 (arXiv:1811.11283)."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.layers.dense_block import DenseBlock
from fecnet.layers.initialise import init_convolutions


class Neck(nn.Module):
    """1×1 convolution without bias → ``body`` → batch norm → ReLU6.

    Args:
        in_channels: channels of the backbone's map.
        channels: output of the 1×1 convolution, input of ``body``.
        body: map to map of the same size.
        out_channels: channels ``body`` returns.
    """

    def __init__(self, in_channels: int, channels: int, body: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.body = body
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU6(inplace=True)
        self.out_channels = out_channels
        init_convolutions(self)

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W), values in 0..6."""
        return self.relu(self.norm(self.body(self.reduce(map_NCHW))))


class DenseBlockNeck(Neck):
    """The paper's: a dense block of five layers, growth 64, 1×1 width 256; 512 channels become 832."""

    def __init__(self, in_channels: int, channels: int = 512) -> None:
        body = DenseBlock(channels, num_layers=5, growth=64, width=256)
        super().__init__(in_channels, channels, body, body.out_channels)


class Conv3x3Neck(Neck):
    """One 3×3 convolution in place of the dense block: the best published figures."""

    def __init__(self, in_channels: int, channels: int = 512) -> None:
        body = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        super().__init__(in_channels, channels, body, channels)


class NoNeck(Neck):
    """Nothing between reduction and batch norm."""

    def __init__(self, in_channels: int, channels: int = 512) -> None:
        super().__init__(in_channels, channels, nn.Identity(), channels)


class IdentityNeck(nn.Identity):
    """The backbone's map as it is, as classifiers have it."""

    def __init__(self, in_channels: int, channels: int = 512) -> None:
        super().__init__()
        self.out_channels = in_channels
