"""Inception-ResNet-v1 (arXiv:1602.07261) in FaceNet's variant.

Parameter names are those of facenet-pytorch, so that its weights load.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fecnet.layers.conv_bn import ConvBNReLU
from fecnet.layers.initialise import init_convolutions
from fecnet.modeling.backbone.base import Backbone
from fecnet.utils.errors import UserError

MIN_SIZE = 43  # pixels; gives a 1×1 feature map after the second of the three reductions

_conv = partial(ConvBNReLU, eps=1e-3)  # epsilon of the published weights


class ResidualInception(nn.Module):
    """``x + scale · conv1×1(branches(x))``, then ReLU.

    Args:
        channels: channels of input and output.
        branches: parallel paths, registered as branch0, branch1, …
        branch_channels: total of their output channels.
        scale: factor on the branches; stabilises deep stacks.
        relu: whether a ReLU follows.
    """

    def __init__(
        self, channels: int, branches: list[nn.Module], branch_channels: int, scale: float, *, relu: bool = True
    ) -> None:
        super().__init__()
        self.num_branches = len(branches)
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)
        self.conv2d = nn.Conv2d(branch_channels, channels, kernel_size=1)
        self.scale = scale
        self.last: nn.Module = nn.ReLU() if relu else nn.Identity()

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        joined_NCHW = torch.cat([getattr(self, f"branch{i}")(map_NCHW) for i in range(self.num_branches)], dim=1)
        return self.last(map_NCHW + self.scale * self.conv2d(joined_NCHW))


class Reduction(nn.Module):
    """Parallel stride-2 paths and a max pooling, concatenated along the channels.

    Args:
        branches: the convolutional paths, registered as branch0, branch1, …
    """

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.num_branches = len(branches)
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', (H - 1) // 2, (W - 1) // 2)."""
        reduced = [getattr(self, f"branch{i}")(map_NCHW) for i in range(self.num_branches)]
        return torch.cat([*reduced, self.pool(map_NCHW)], dim=1)


def _block35() -> ResidualInception:
    branches = [
        _conv(256, 32, 1),
        nn.Sequential(_conv(256, 32, 1), _conv(32, 32, 3, padding=1)),
        nn.Sequential(_conv(256, 32, 1), _conv(32, 32, 3, padding=1), _conv(32, 32, 3, padding=1)),
    ]
    return ResidualInception(256, branches, 96, scale=0.17)


def _block17() -> ResidualInception:
    branches = [
        _conv(896, 128, 1),
        nn.Sequential(
            _conv(896, 128, 1), _conv(128, 128, (1, 7), padding=(0, 3)), _conv(128, 128, (7, 1), padding=(3, 0))
        ),
    ]
    return ResidualInception(896, branches, 256, scale=0.10)


def _block8(scale: float = 0.20, *, relu: bool = True) -> ResidualInception:
    branches = [
        _conv(1792, 192, 1),
        nn.Sequential(
            _conv(1792, 192, 1), _conv(192, 192, (1, 3), padding=(0, 1)), _conv(192, 192, (3, 1), padding=(1, 0))
        ),
    ]
    return ResidualInception(1792, branches, 384, scale, relu=relu)


def _mixed_6a() -> Reduction:
    return Reduction(
        [
            _conv(256, 384, 3, stride=2),
            nn.Sequential(_conv(256, 192, 1), _conv(192, 192, 3, padding=1), _conv(192, 256, 3, stride=2)),
        ]
    )


def _mixed_7a() -> Reduction:
    return Reduction(
        [
            nn.Sequential(_conv(896, 256, 1), _conv(256, 384, 3, stride=2)),
            nn.Sequential(_conv(896, 256, 1), _conv(256, 256, 3, stride=2)),
            nn.Sequential(_conv(896, 256, 1), _conv(256, 256, 3, padding=1), _conv(256, 256, 3, stride=2)),
        ]
    )


class InceptionResnetV1(Backbone):
    """Inception-ResNet-v1 up to the last block: 1792 channels, a 3×3 feature map at 160 px.

    Args:
        in_channels: 1 grey, 3 colour, 4 colour and mask.
    """

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__()
        self.conv2d_1a = _conv(in_channels, 32, 3, stride=2)
        self.conv2d_2a = _conv(32, 32, 3)
        self.conv2d_2b = _conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = _conv(64, 80, 1)
        self.conv2d_4a = _conv(80, 192, 3)
        self.conv2d_4b = _conv(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = _mixed_6a()
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = _mixed_7a()
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(scale=1.0, relu=False)
        self.out_channels = 1792
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to map (N, 1792, h, w).

        Raises:
            UserError: a side is below ``MIN_SIZE``, so that the unpadded convolutions have no output.
        """
        height, width = image_NCHW.shape[-2:]
        if min(height, width) < MIN_SIZE:
            raise UserError(f"inception_resnet_v1 needs images of at least {MIN_SIZE} px a side, got {height}×{width}")
        map_NCHW = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(image_NCHW)))
        map_NCHW = self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(map_NCHW)))
        map_NCHW = self.repeat_1(self.conv2d_4b(map_NCHW))
        map_NCHW = self.repeat_2(self.mixed_6a(map_NCHW))
        map_NCHW = self.repeat_3(self.mixed_7a(_at_least_3x3(map_NCHW)))
        return self.block8(map_NCHW)


def _at_least_3x3(map_NCHW: Tensor) -> Tensor:
    """Pad by replication to the 3×3 window of the last, unpadded reduction; no change from 75 px on."""
    height, width = map_NCHW.shape[-2:]
    if min(height, width) >= 3:
        return map_NCHW
    return F.interpolate(map_NCHW, size=(max(height, 3), max(width, 3)), mode="nearest")
