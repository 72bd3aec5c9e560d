"""FaceNet's NN2 up to stage 4e (arXiv:1503.03832, table 2), as the expression embedding uses it (arXiv:1811.11283)."""

from __future__ import annotations

from torch import Tensor, nn

from fecnet.layers.conv_bn import ConvBNReLU
from fecnet.layers.inception import InceptionBlock, InceptionWidths
from fecnet.layers.initialise import init_convolutions
from fecnet.layers.l2 import L2Norm
from fecnet.modeling.backbone.base import Backbone

_STAGES = {
    "3a": InceptionWidths(one=64, reduce_three=96, three=128, reduce_five=16, five=32, pool=32),
    "3b": InceptionWidths(one=64, reduce_three=96, three=128, reduce_five=32, five=64, pool=64, l2_pool=True),
    "3c": InceptionWidths(one=0, reduce_three=128, three=256, reduce_five=32, five=64, pool=0, stride=2),
    "4a": InceptionWidths(one=256, reduce_three=96, three=192, reduce_five=32, five=64, pool=128, l2_pool=True),
    "4b": InceptionWidths(one=224, reduce_three=112, three=224, reduce_five=32, five=64, pool=128, l2_pool=True),
    "4c": InceptionWidths(one=192, reduce_three=128, three=256, reduce_five=32, five=64, pool=128, l2_pool=True),
    "4d": InceptionWidths(one=160, reduce_three=144, three=288, reduce_five=32, five=64, pool=128, l2_pool=True),
    "4e": InceptionWidths(one=0, reduce_three=160, three=256, reduce_five=64, five=128, pool=0, stride=2),
}


class InceptionNN2(Backbone):
    """FaceNet NN2 up to 4e: 1024 channels, stride 32 (rounded up).

    Args:
        in_channels: 1 grey, 3 colour, 4 colour and mask.
        batch_norm: batch norm after every convolution; without it, as published, it hardly trains from scratch.
    """

    def __init__(self, *, in_channels: int = 3, batch_norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvBNReLU(in_channels, 64, 7, stride=2, padding=3, batch_norm=batch_norm),
            nn.MaxPool2d(3, stride=2, padding=1),
            L2Norm(),
            ConvBNReLU(64, 64, 1, batch_norm=batch_norm),
            ConvBNReLU(64, 192, 3, padding=1, batch_norm=batch_norm),
            L2Norm(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleDict()
        channels = 192
        for name, widths in _STAGES.items():
            block = InceptionBlock(channels, widths, batch_norm=batch_norm)
            self.stages[name] = block
            channels = block.out_channels
        self.out_channels = channels
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to map (N, 1024, ceil(H / 32), ceil(W / 32))."""
        map_NCHW = self.stem(image_NCHW)
        for stage in self.stages.values():
            map_NCHW = stage(map_NCHW)
        return map_NCHW
