"""The residual net of dlib's face recognition, for training from its weights (public domain, CC0).

The layers are those of dlib's ``dnn_face_recognition_ex.cpp`` without the last block and the linear layer, which are
specific to the recognition of persons.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, fx, nn

from fecnet.layers.initialise import init_convolutions
from fecnet.layers.small_maps import Conv3x3
from fecnet.modeling.backbone.base import Backbone
from fecnet.utils.errors import ConfigError

STAGES = ((32, 3), (64, 4), (128, 3), (256, 3))  # channels and blocks; all stages but the first begin with stride 2
SMALLEST = 64  # pixels; with smaller images the last stage's input is smaller than 3×3


class Stem(nn.Module):
    """7×7 convolution of stride 2 without padding → batch norm → ReLU → 3×3 max pooling of stride 2.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the feature map.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 7, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to map (N, out_channels, h, w), h and w about a quarter of H and W."""
        return self.pool(self.relu(self.norm(self.conv(image_NCHW))))


class DlibBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut without weights.

    With stride 2 the first convolution has no padding and the shortcut is a 2×2 average pooling. Whichever of the two
    is smaller, in channels, rows or columns, is padded with zeros.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, at least ``in_channels``.
        stride: 1 or 2.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1: nn.Conv2d = Conv3x3(in_channels, out_channels)
        if stride == 2:
            self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool: nn.Module = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride), rounded down."""
        branch_NCHW = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(map_NCHW)))))
        return self.relu(_add(branch_NCHW, self.pool(map_NCHW)))


@fx.wrap  # depends on sizes: torch.fx must not trace into it
def _add(branch_NCHW: Tensor, shortcut_NCHW: Tensor) -> Tensor:
    """The sum; the shortcut has as many rows, columns and fewer channels, or more rows and columns."""
    channels, height, width = (shortcut_NCHW.shape[dim] - branch_NCHW.shape[dim] for dim in (1, 2, 3))
    if height or width:
        branch_NCHW = F.pad(branch_NCHW, (0, width, 0, height))
    if channels:
        shortcut_NCHW = F.pad(shortcut_NCHW, (0, 0, 0, 0, 0, -channels))
    return branch_NCHW + shortcut_NCHW


class DlibResNet(Backbone):
    """Thirteen residual blocks of dlib's face recognition; 256 channels, about stride 32.

    In dlib's training pictures of 150 pixels, faces fill two thirds of the side. Faces that fill the whole picture
    therefore have the scale of dlib's training at a side of about 100 pixels.

    Args:
        in_channels: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        input_size: side of the image, pixels.

    Raises:
        ConfigError: an image smaller than 64 pixels.
    """

    def __init__(self, *, in_channels: int, input_size: int) -> None:
        super().__init__()
        if input_size < SMALLEST:
            raise ConfigError(f"DATA.INPUT_SIZE: {input_size} with dlib_resnet; allowed: {SMALLEST} or more")
        self.out_channels, before = STAGES[-1][0], STAGES[0][0]
        self.stem = Stem(in_channels, before)
        blocks: list[DlibBlock] = []
        for channels, number in STAGES:
            blocks += [DlibBlock(before, channels, 2 if blocks else 1)]
            blocks += [DlibBlock(channels, channels, 1) for _ in range(number - 1)]
            before = channels
        self.blocks = nn.Sequential(*blocks)
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 256, h, w)."""
        return self.blocks(self.stem(image_NCHW))
