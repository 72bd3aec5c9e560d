"""Interface of a neck."""

from __future__ import annotations

from torch import nn

from fecnet.modeling.channels import ChannelGroup, Span


class Neck(nn.Module):
    """Feature map to feature map.

    ``forward`` takes the backbone's feature map (N, in_channels, H, W) and returns one of (N, out_channels, H, W).
    ``out_channels`` determines the head's input.

    Attributes:
        readers: layers that read the backbone's feature map, for ``fecnet prune``; empty where the map is passed on
            unchanged; None where they are not declared, so that a net with this neck cannot be pruned.
    """

    out_channels: int
    readers: tuple[Span, ...] | None = None

    def channel_groups(self) -> list[ChannelGroup]:
        """The channels that can be removed, in the order of ``MODEL.LAYER_CHANNELS``; none by default."""
        return []
