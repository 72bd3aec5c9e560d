"""ResNet-18 (arXiv:1512.03385). Parameter names are those of torchvision, so that its weights load."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from fecnet.layers.initialise import init_convolutions
from fecnet.layers.small_maps import Conv3x3
from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.channels import ChannelGroup, Span

_NARROW = 15  # channels


def _conv(in_channels: int, out_channels: int, size: int, stride: int) -> nn.Conv2d:
    if (size, stride) == (3, 1):
        return Conv3x3(in_channels, out_channels)
    return nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)


class NarrowShortcut(nn.Conv2d):
    """1×1 convolution that subsamples by ``stride`` before the convolution.

    With few channels, as in pruned nets, the backward pass of torch 2.15's strided convolution can crash the process on
    a CPU.
    """

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        down, across = self.stride
        return F.conv2d(map_NCHW[:, :, ::down, ::across], self.weight)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    if in_channels <= _NARROW:
        return NarrowShortcut(in_channels, out_channels, 1, stride, bias=False)
    return _conv(in_channels, out_channels, 1, stride)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, which is a 1×1 convolution where the shape changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution and the shortcut.
        inner_channels: channels between the two convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, inner_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, inner_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(inner_channels)
        self.conv2 = _conv(inner_channels, out_channels, 3, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(_shortcut(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        branch_NCHW = self.relu(self.bn1(self.conv1(map_NCHW)))
        branch_NCHW = self.bn2(self.conv2(branch_NCHW))
        return self.relu(branch_NCHW + self.downsample(map_NCHW))


def resnet_widths(width: float, blocks: Sequence[int]) -> list[int]:
    """Published channel counts times ``width``: for each stage its output, then the inner channels of its blocks."""
    channels = [max(1, round(count * width)) for count in (64, 128, 256, 512)]
    return [count for count, number in zip(channels, blocks, strict=False) for _ in range(1 + number)]


class ResNet18(Backbone):
    """ResNet-18 without pooling and classifier; stride 32, or 8 with the CIFAR stem (rounded up).

    Args:
        in_channels: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        width: factor on all channel counts; 1.0 gives 512 channels out.
        blocks: residual blocks in each stage, at most four stages; (1, 1, 1, 1) is ResNet-10. Shallow nets converge
            faster, and fewer stages give a feature map of higher resolution for small faces.
        cifar_stem: for small faces: a 3×3 convolution without pooling instead of 7×7 with stride 2 and max pooling.
        widths: channel counts in the order of ``resnet_widths``; overrides ``width``.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: float = 1.0,
        blocks: Sequence[int] = (2, 2, 2, 2),
        cifar_stem: bool = False,
        widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        every = iter(resnet_widths(width, blocks) if widths is None else widths)
        channels, inner = zip(*((next(every), [next(every) for _ in range(count)]) for count in blocks), strict=True)
        self.conv1 = _conv(in_channels, channels[0], 3, 1) if cifar_stem else _conv(in_channels, channels[0], 7, 2)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if cifar_stem else nn.MaxPool2d(3, stride=2, padding=1)
        before = [channels[0], *channels]
        for k, count in enumerate(blocks):
            first = BasicBlock(before[k], channels[k], 1 if k == 0 else 2, inner_channels=inner[k][0])
            others = (BasicBlock(channels[k], channels[k], 1, inner_channels=inner[k][i]) for i in range(1, count))
            self.add_module(f"layer{k + 1}", nn.Sequential(first, *others))
        self._blocks = tuple(blocks)
        self.out_channels = channels[-1]
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to map (N, out_channels, h, w).

        After four stages h and w are H / 32 and W / 32, with the CIFAR stem H / 8 and W / 8, rounded up.
        """
        # The published net has the ReLU before the max pooling. The two commute, with identical gradients, and a ReLU
        # after the pooling processes a quarter of the values.
        map_NCHW = self.relu(self.maxpool(self.bn1(self.conv1(image_NCHW))))
        for k in range(len(self._blocks)):
            map_NCHW = self.get_submodule(f"layer{k + 1}")(map_NCHW)
        return map_NCHW

    def channel_groups(self) -> list[ChannelGroup]:
        """For each stage the residual stream (written by its blocks and the stem or a shortcut), then its blocks."""
        groups = []
        for k, count in enumerate(self._blocks):
            blocks = [f"layer{k + 1}.{i}" for i in range(count)]
            first, following = f"{blocks[0]}.downsample", f"layer{k + 2}.0"
            is_last = k + 1 == len(self._blocks)
            begins = ("conv1", "bn1") if k == 0 else (f"{first}.0", f"{first}.1")
            readers = [f"{block}.conv1" for block in blocks[0 if k == 0 else 1 :]]
            readers += [] if is_last else [f"{following}.conv1", f"{following}.downsample.0"]
            groups.append(
                ChannelGroup(
                    f"layer{k + 1}",
                    self._channels_out(f"{blocks[0]}.conv2"),
                    norms=(Span(begins[1]), *(Span(f"{block}.bn2") for block in blocks)),
                    writers=(Span(begins[0]), *(Span(f"{block}.conv2") for block in blocks)),
                    readers=tuple(map(Span, readers)),
                    is_residual=True,
                    output=0 if is_last else None,
                )
            )
            groups += [self._inside(block) for block in blocks]
        return groups

    def _inside(self, block: str) -> ChannelGroup:
        norms, writers, readers = ((Span(f"{block}.{name}"),) for name in ("bn1", "conv1", "conv2"))
        return ChannelGroup(f"{block}.conv1", self._channels_out(f"{block}.conv1"), norms, writers, readers)

    def _channels_out(self, conv: str) -> int:
        return self.get_submodule(conv).get_parameter("weight").shape[0]
