"""Necks of the expression embedding (arXiv:1811.11283): 1×1 reduction, a body, BN and ReLU6."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fecnet.layers.dense_block import DenseBlock
from fecnet.layers.initialise import init_convolutions
from fecnet.layers.small_maps import Conv3x3
from fecnet.modeling.channels import ChannelGroup, Span
from fecnet.modeling.neck.base import Neck

_NUM_LAYERS, _INNER, _GROWTH = 5, 256, 64  # of the paper's dense block


class ReducingNeck(Neck):
    """1×1 convolution without bias → ``body`` → batch norm → ReLU6.

    Args:
        in_channels: channels of the backbone's feature map.
        channels: output channels of the 1×1 convolution, input of ``body``.
        body: feature map to feature map of the same size.
        out_channels: output channels of ``body``.
    """

    readers = (Span("reduce"),)

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


class DenseBlockNeck(ReducingNeck):
    """The paper's neck: a dense block of five layers, growth rate 64, bottleneck width 256; 512 channels become 832.

    Args:
        in_channels: channels of the backbone's feature map.
        channels: output channels of the 1×1 reduction.
        widths: channels of the reduction, then of each layer's bottleneck and growth, in place of the paper's.
    """

    def __init__(self, in_channels: int, channels: int = 512, widths: Sequence[int] | None = None) -> None:
        reduced, *layers = self.default_widths(channels) if widths is None else widths
        body = DenseBlock(reduced, _NUM_LAYERS, growth=layers[1::2], width=layers[::2])
        super().__init__(in_channels, reduced, body, body.out_channels)
        self._widths = (reduced, *layers)

    @staticmethod
    def default_widths(channels: int) -> list[int]:
        """``widths`` where none are given."""
        return [channels] + [_INNER, _GROWTH] * _NUM_LAYERS

    def channel_groups(self) -> list[ChannelGroup]:
        """The reduction; then the bottleneck and the growth of each layer.

        The outputs of the reduction and of each layer are normalised separately by every later layer: a channel is
        removed where the scales of all of these, and of the final norm, allow it.
        """
        reduced, *layers = self._widths
        groups = [self._shared("reduce", reduced, layer=0, offset=0)]
        offset = reduced
        for i, (inner, growth) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            norms, writers, readers = ((Span(f"body.{i}.{name}"),) for name in ("norm2", "conv1", "conv2"))
            groups.append(ChannelGroup(f"body.{i}.conv1", inner, norms, writers, readers))
            groups.append(self._shared(f"body.{i}.conv2", growth, layer=i + 1, offset=offset))
            offset += growth
        return groups

    @staticmethod
    def _shared(writer: str, size: int, *, layer: int, offset: int) -> ChannelGroup:
        """Channels at ``offset`` in the input of the layers from ``layer`` on and of the final norm."""
        norms = [Span(f"body.{i}.norm1", offset) for i in range(layer, _NUM_LAYERS)] + [Span("norm", offset)]
        readers = tuple(Span(f"body.{i}.conv1", offset) for i in range(layer, _NUM_LAYERS))
        return ChannelGroup(writer, size, tuple(norms), (Span(writer),), readers, output=offset)


class _PlainNeck(ReducingNeck):
    """A neck whose only prunable channels are those of its last convolution."""

    _last: str

    @staticmethod
    def default_widths(channels: int) -> list[int]:
        """``widths`` where none are given."""
        return [channels]

    def channel_groups(self) -> list[ChannelGroup]:
        """The channels of the final norm."""
        return [ChannelGroup(self._last, self.out_channels, (Span("norm"),), (Span(self._last),), output=0)]


class Conv3x3Neck(_PlainNeck):
    """One 3×3 convolution in place of the dense block; it has the best published accuracy.

    Args:
        in_channels: channels of the backbone's feature map.
        channels: output channels of the 1×1 reduction, which has no norm.
        widths: one value: channels of the 3×3 convolution, in place of ``channels``.
    """

    _last = "body"

    def __init__(self, in_channels: int, channels: int = 512, widths: Sequence[int] | None = None) -> None:
        (out_channels,) = self.default_widths(channels) if widths is None else widths
        body = Conv3x3(channels, out_channels)
        super().__init__(in_channels, channels, body, out_channels)


class Conv1x1Neck(_PlainNeck):
    """The 1×1 reduction without a body.

    Args:
        in_channels: channels of the backbone's feature map.
        channels: output channels of the 1×1 reduction.
        widths: one value: channels of the reduction, in place of ``channels``.
    """

    _last = "reduce"

    def __init__(self, in_channels: int, channels: int = 512, widths: Sequence[int] | None = None) -> None:
        (channels,) = self.default_widths(channels) if widths is None else widths
        super().__init__(in_channels, channels, nn.Identity(), channels)


class NoNeck(Neck):
    """Identity: passes the backbone's feature map on unchanged, as in classifiers.

    Args:
        in_channels: channels of the backbone's feature map.
    """

    readers = ()

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Returns the feature map unchanged."""
        return map_NCHW
