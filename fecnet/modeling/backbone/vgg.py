"""VGG-16 and VGG-19 with batch norm (arXiv:1409.1556). Parameter names are those of torchvision, so its weights load.

The VGG19 of the published FER2013 system has the same layers and names, followed by one linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fecnet.layers.initialise import init_convolutions
from fecnet.layers.small_maps import Conv3x3
from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.channels import ChannelGroup, Span

VGG16_STAGES = (2, 2, 3, 3, 3)  # convolutions between two max pools
VGG19_STAGES = (2, 2, 4, 4, 4)
_CHANNELS = (64, 128, 256, 512, 512)


def vgg_widths(stages: Sequence[int]) -> list[int]:
    """Published channel counts of each convolution."""
    return [channels for number, channels in zip(stages, _CHANNELS, strict=True) for _ in range(number)]


class VGG(Backbone):
    """Five stages of 3×3 convolution (with bias), batch norm and ReLU, each followed by a 2×2 max pool.

    The net reads three colour channels: a grey image is repeated three times, so published weights fit both. Stride 32,
    rounded down: the 44 px of FER2013 give a 1×1 feature map; the minimum is 32 px.

    Args:
        stages: convolutions in each stage, ``VGG16_STAGES`` or ``VGG19_STAGES``.
        in_channels: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        widths: channels of each convolution, instead of ``vgg_widths``.
    """

    def __init__(self, stages: Sequence[int], *, in_channels: int = 3, widths: Sequence[int] | None = None) -> None:
        super().__init__()
        self._repeat_grey = in_channels in (1, 2)
        channels = in_channels + 2 if self._repeat_grey else in_channels
        layers: list[nn.Module] = []
        width = iter(vgg_widths(stages) if widths is None else widths)
        for num_convolutions in stages:
            for _ in range(num_convolutions):
                out_channels = next(width)
                conv = Conv3x3(channels, out_channels, bias=True)
                layers += [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.out_channels = channels
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to map (N, out_channels, H // 32, W // 32)."""
        if self._repeat_grey:
            grey_NCHW = image_NCHW[:, :1].expand(-1, 3, -1, -1)
            image_NCHW = torch.cat((grey_NCHW, image_NCHW[:, 1:]), dim=1)
        return self.features(image_NCHW)

    def channel_groups(self) -> list[ChannelGroup]:
        """One group per convolution."""
        convs = [(number, layer) for number, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        names = [f"features.{number}" for number, _ in convs]
        return [
            ChannelGroup(
                name,
                conv.out_channels,
                norms=(Span(f"features.{number + 1}"),),
                writers=(Span(name),),
                readers=tuple(map(Span, after)),
                output=None if after else 0,
            )
            for (number, conv), name, after in zip(convs, names, [[name] for name in names[1:]] + [[]], strict=True)
        ]
