"""Interface of a backbone."""

from __future__ import annotations

from torch import nn

from fecnet.modeling.channels import ChannelGroup


class Backbone(nn.Module):
    """Image to feature map.

    ``forward`` takes a normalised float image (N, in_channels, H, W), H and W at least 48, and returns a feature map
    (N, out_channels, h, w). ``out_channels`` determines the neck's input. A backbone that ends with linear layers
    returns their output as a 1×1 feature map.
    """

    out_channels: int

    @property
    def published(self) -> nn.Module:
        """The module whose names of parameters are those of published weights: itself, by default."""
        return self

    def channel_groups(self) -> list[ChannelGroup]:
        """The channels that can be removed, in the order of ``MODEL.LAYER_CHANNELS``; none by default."""
        return []
