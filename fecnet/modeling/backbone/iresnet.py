"""IResNet, the residual net of face recognition (arXiv:1801.07698), with insightface's parameter names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, fx, nn

from fecnet.layers.initialise import init_convolutions
from fecnet.modeling.backbone.base import Backbone
from fecnet.utils.errors import UserError

IRESNET18_BLOCKS = (2, 2, 2, 2)
IRESNET50_BLOCKS = (3, 4, 14, 3)
_CHANNELS = (64, 128, 256, 512)
_STRIDE = 16  # of the last stage's feature map


class IBasicBlock(nn.Module):
    """BN → 3×3 → BN → PReLU → 3×3 → BN with a shortcut, which is a 1×1 convolution where the shape changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the second convolution and the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        branch_NCHW = self.prelu(self.bn2(self.conv1(self.bn1(map_NCHW))))
        return self.bn3(self.conv2(branch_NCHW)) + self.downsample(map_NCHW)


class IResNet(Backbone):
    """3×3 stem, four stages of stride 2, BN; then flatten → FC → BN1d, as in face recognition.

    The FC is part of the backbone, so that it is loaded with the pretrained weights; its output is a 1×1 feature map,
    which any neck and head accept. Published for 112 px: 24,025,600 parameters with 2 blocks in each stage, 43,590,848
    with 3, 4, 14 and 3.

    Args:
        blocks: number of blocks in each stage, ``IRESNET18_BLOCKS`` or ``IRESNET50_BLOCKS``.
        in_channels: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        input_size: side of the images in pixels, which determines the FC's size; None omits FC and BN1d and accepts any
            size.
        feature_dim: outputs of the FC.
    """

    def __init__(
        self, blocks: Sequence[int], *, in_channels: int = 3, input_size: int | None = 112, feature_dim: int = 512
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, _CHANNELS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_CHANNELS[0])
        self.prelu = nn.PReLU(_CHANNELS[0])
        before = [_CHANNELS[0], *_CHANNELS]
        stages = []
        for k, count in enumerate(blocks):
            first = IBasicBlock(before[k], _CHANNELS[k], 2)
            stages.append(nn.Sequential(first, *(IBasicBlock(_CHANNELS[k], _CHANNELS[k], 1) for _ in range(count - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(_CHANNELS[-1])
        self._input_size = input_size
        self.out_channels = _CHANNELS[-1]
        if input_size is not None:
            side = -(-input_size // _STRIDE)  # every stage rounds up
            self.fc = nn.Linear(_CHANNELS[-1] * side**2, feature_dim)
            self.features = nn.BatchNorm1d(feature_dim)
            self.out_channels = feature_dim
        init_convolutions(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, in_channels, H, W) to (N, feature_dim, 1, 1); without FC to 512 channels at stride 16 (rounded up).

        Raises:
            UserError: the FC was built for another image size, or its batch norm gets a single image in training.
        """
        if self._input_size is not None:
            _check(image_NCHW, self._input_size, self.training)
        map_NCHW = self.prelu(self.bn1(self.conv1(image_NCHW)))
        map_NCHW = self.layer4(self.layer3(self.layer2(self.layer1(map_NCHW))))
        map_NCHW = self.bn2(map_NCHW)
        if self._input_size is None:
            return map_NCHW
        return self.features(self.fc(map_NCHW.flatten(1)))[:, :, None, None]


@fx.wrap  # depends on sizes: torch.fx must not trace into it
def _check(image_NCHW: Tensor, size: int, training: bool) -> None:
    height, width = image_NCHW.shape[-2:]
    if (height, width) != (size, size):
        raise UserError(f"iresnet's FC is sized for images of {size}×{size} px, got {height}×{width}")
    if training and len(image_NCHW) == 1:
        raise UserError(
            "iresnet's FC ends with a batch norm: training needs at least 2 images in a forward pass, got 1"
        )
