"""What the rest of the net may rely on in a neck."""

from __future__ import annotations

from torch import nn

from fecnet.modeling.channels import ChannelGroup, Span


class Neck(nn.Module):
    """Map to map.

    ``forward`` takes the backbone's map (N, in_channels, H, W) and returns one of (N, out_channels, H, W).
    ``out_channels`` is what the head is wired with.

    Attributes:
        readers: what takes in the backbone's map, as ``fecnet prune`` must know; empty where the map passes through;
            None: not described, and a net with this neck cannot be pruned.
    """

    out_channels: int
    readers: tuple[Span, ...] | None = None

    def channel_groups(self) -> list[ChannelGroup]:
        """The channels that can be removed, in the order of ``MODEL.LAYER_CHANNELS``; none by default."""
        return []
