"""ResNet-18 (arXiv:1512.03385). Parameter names are torchvision's, so that its files load."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.layers.initialise import init_convolutions
from fecnet.modeling.backbone.base import Backbone


def _conv(in_channels: int, out_channels: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 3, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(_conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        branch_NCHW = self.relu(self.bn1(self.conv1(map_NCHW)))
        branch_NCHW = self.bn2(self.conv2(branch_NCHW))
        return self.relu(branch_NCHW + self.downsample(map_NCHW))


class ResNet18(Backbone):
    """ResNet-18 with the ImageNet stem, without pooling and classifier; the map is 1/32 of the input, rounded up.

    Args:
        in_channels: 1 grey, 3 colour, 4 colour and mask.
        width: factor on all channel counts; 1.0 gives 512 channels out.
    """

    def __init__(self, *, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4 = (max(1, round(channels * width)) for channels in (64, 128, 256, 512))
        self.conv1 = _conv(in_channels, c1, 7, 2)
        self.bn1 = nn.BatchNorm2d(c1)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(c1, c1, 1), BasicBlock(c1, c1, 1))
        self.layer2 = nn.Sequential(BasicBlock(c1, c2, 2), BasicBlock(c2, c2, 1))
        self.layer3 = nn.Sequential(BasicBlock(c2, c3, 2), BasicBlock(c3, c3, 1))
        self.layer4 = nn.Sequential(BasicBlock(c3, c4, 2), BasicBlock(c4, c4, 1))
        self.out_channels = c4
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to map (N, out_channels, ceil(H / 32), ceil(W / 32))."""
        map_NCHW = self.maxpool(self.relu(self.bn1(self.conv1(image_NCHW))))
        return self.layer4(self.layer3(self.layer2(self.layer1(map_NCHW))))
