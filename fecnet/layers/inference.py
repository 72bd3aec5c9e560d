"""Layers for inference on a CPU, in place of those that a net is trained with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PACKED_FOR = 16  # images; layouts, and so bits, must not depend on the first batch
_FEWEST_ROWS = 16  # from which on matrix products, seen with torch 2.15, give a row the same bits beside any others
_LIMITS: dict[str, tuple[float, ...]] = {"none": (), "relu": (0.0,), "hardtanh": (0.0, 6.0)}  # of oneDNN's ReLUs


class FusedConv(nn.Module):
    """A convolution and the ReLU behind it in one pass, by oneDNN, with weights in its own layout.

    Args:
        conv: the convolution.
        weight_OCKK: in place of its own.
        bias_O: in place of its own.

    Attributes:
        weight: as given until the first call, then packed.
        bias: as given.
        geometry: padding, stride, dilation, groups.
        in_channels: C.
        clip: oneDNN's name of the ReLU, and its limits.
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
    """A convolution of an image and the max pooling behind it, in oneDNN's blocked layout.

    An image has too few channels for the kernels of channels-last memory. Blocked, it is
    quicker, the way back into channels-last memory of the pooled map included.

    Args:
        conv: the convolution, with its ReLU, which is applied to the pooled map: the two commute.
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
    """A linear layer that gives a row the same bits whatever the number of rows: few are filled up.

    Args:
        linear: the layer, whose weights it shares.
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
    """The map in channels-last memory, also where it has one channel.

    A map of one channel is contiguous in both formats, so that ``contiguous`` would keep its strides. But by these
    kernels choose the format of their output: everything behind the first convolution of a grey image would be NCHW.
    """
    return map_NCHW.to(memory_format=torch.channels_last)
