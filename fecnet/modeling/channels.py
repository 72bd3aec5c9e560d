"""Prunable channels of a net, and the layers that write and read each of them.

Each part of a net describes its own: backbone, neck and head have ``channel_groups`` or ``readers``, and
``ExpressionNet`` combines them. ``MODEL.LAYER_CHANNELS`` lists the sizes of the groups in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Span:
    """Position of a group's channels in a layer, which may have further channels.

    Attributes:
        layer: name of the layer in the net.
        offset: index of the group's first channel in it.
    """

    layer: str
    offset: int = 0


@dataclass(frozen=True)
class ChannelGroup:
    """Channels shared by several layers: each channel is kept or removed in all of them.

    A channel whose scales and shifts are zero in all ``norms`` is zero in the input of all ``readers``, since each norm
    is followed by a ReLU or added to other norms of the group. Removing it then does not change any output.

    Attributes:
        name: for messages.
        size: number of channels.
        norms: batch norms of the channels.
        writers: convolutions that output them.
        readers: convolutions and linear layers that have them as input.
        is_residual: they are the residual stream of a stage, to which all of its blocks add.
        output: index of the first of them in the feature map that the module returns; None where they are internal.
    """

    name: str
    size: int
    norms: tuple[Span, ...]
    writers: tuple[Span, ...]
    readers: tuple[Span, ...] = ()
    is_residual: bool = False
    output: int | None = None


def with_prefix(group: ChannelGroup, prefix: str) -> ChannelGroup:
    """The group with ``prefix`` prepended to its layer names."""
    return replace(
        group,
        name=prefix + group.name,
        norms=prefix_spans(group.norms, prefix),
        writers=prefix_spans(group.writers, prefix),
        readers=prefix_spans(group.readers, prefix),
    )


def connect(groups: Sequence[ChannelGroup], readers: Sequence[Span]) -> list[ChannelGroup]:
    """Groups of a module whose output feature map is the input of ``readers``."""
    return [
        group
        if group.output is None
        else replace(
            group,
            readers=group.readers + tuple(Span(span.layer, span.offset + group.output) for span in readers),
            output=None,
        )
        for group in groups
    ]


def prefix_spans(spans: Sequence[Span], prefix: str) -> tuple[Span, ...]:
    """The spans with ``prefix`` prepended to their layer names."""
    return tuple(replace(span, layer=prefix + span.layer) for span in spans)
