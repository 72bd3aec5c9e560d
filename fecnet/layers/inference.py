"""Layers for inference on a CPU, which replace those that a net is trained with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PACKED_FOR = (
    16  # images; fixed, so that the weights' layout, and with it the rounding, is independent of the first batch
)
_FEWEST_ROWS = 16  # from this number of rows on, a row of a matrix product is independent of the others (torch 2.15)
_LIMITS: dict[str, tuple[float, ...]] = {"none": (), "relu": (0.0,), "hardtanh": (0.0, 6.0)}  # by oneDNN's name


class FusedConv(nn.Module):
    """A convolution and the ReLU after it in one oneDNN call, with weights in oneDNN's own layout.

    Args:
        conv: the convolution.
        weight_OCKK: weights used instead of those of ``conv``.
        bias_O: bias used instead of that of ``conv``.

    Attributes:
        weight: ``weight_OCKK`` until the first call, then packed.
        bias: ``bias_O``.
        geometry: padding, stride, dilation, groups.
        in_channels: C.
        clip: oneDNN's name of the activation, and its limits.
    """

    def __init__(self, conv: nn.Conv2d, weight_OCKK: Tensor, bias_O: Tensor | None) -> None:
        super().__init__()
        self.weight = weight_OCKK.detach()
        self.bias = None if bias_O is None else bias_O.detach()
        assert not isinstance(conv.padding, str)
        self.geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.in_channels = conv.in_channels
        self.clip: tuple[str, list[float]] = ("none", [])

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W'), channels-last."""
        map_NCHW, weight = channels_last(map_NCHW), self.weight
        if not weight.is_mkldnn:  # the layout depends on the size of the map; two threads may both do it
            size = (_PACKED_FOR, *map_NCHW.shape[1:])
            weight = self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, size)
        out_NOHW: Tensor = torch.ops.mkldnn._convolution_pointwise(
            map_NCHW, weight, self.bias, *self.geometry, *self.clip, ""
        )
        return out_NOHW


class PooledConv(nn.Module):
    """A convolution of an image and the max pooling after it, in oneDNN's blocked layout.

    An image has too few channels for fast channels-last kernels. The blocked layout is faster, even with the conversion
    of the pooled map to channels-last memory.

    Args:
        conv: the convolution with its ReLU. The ReLU is applied to the pooled map, since the two commute.
        pool: the pooling.
    """

    def __init__(self, conv: FusedConv, pool: nn.MaxPool2d) -> None:
        super().__init__()
        weight = conv.weight.to_mkldnn()
        padding, stride, dilation, groups = self._geometry = conv.geometry
        geometry = (list(padding), list(stride), list(dilation), groups)
        self._weight = torch._C._nn.mkldnn_reorder_conv2d_weight(weight, *geometry)
        self._bias = None if conv.bias is None else conv.bias.to_mkldnn()
        self._limits = _LIMITS[conv.clip[0]]
        self._pool = pool

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Image (N, C, H, W) to map (N, O, H', W'), channels-last."""
        padding, stride, dilation, groups = self._geometry
        map_NOHW = F.conv2d(image_NCHW.to_mkldnn(), self._weight, self._bias, stride, padding, dilation, groups)
        pooled_NOHW = channels_last(self._pool(map_NOHW).to_dense())
        return pooled_NOHW.clamp_(*self._limits) if self._limits else pooled_NOHW


class SteadyLinear(nn.Module):
    """A linear layer whose result for a row is the same to the last bit for any number of rows: few rows are padded.

    Args:
        linear: the layer; its weights are shared.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in_features) to (…, out_features)."""
        missing = _FEWEST_ROWS - len(x) if x.ndim == 2 else 0
        if missing <= 0:
            return F.linear(x, self.weight, self.bias)
        return F.linear(F.pad(x, (0, 0, 0, missing)), self.weight, self.bias)[:-missing]


def channels_last(map_NCHW: Tensor) -> Tensor:
    """The map with the strides of channels-last memory, also where it has one channel.

    A map of one channel is contiguous in both formats, so ``contiguous`` keeps its NCHW strides. Kernels choose the
    format of their output by these strides: all maps after the first convolution of a grey image would be NCHW.
    """
    return map_NCHW.to(memory_format=torch.channels_last)
