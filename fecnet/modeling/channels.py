"""Which channels of a net can be removed, and where each of them is written and read.

Each room of a net describes its own: a backbone, a neck and a head have ``channel_groups`` or ``readers`` of their
own, ``ExpressionNet`` joins them. ``MODEL.LAYER_CHANNELS`` lists the sizes of the groups in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Span:
    """A group's channels in a layer that may hold others too.

    Attributes:
        layer: name of the layer in the net.
        offset: index of the group's first channel in it.
    """

    layer: str
    offset: int = 0


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of which each is kept or removed everywhere at once.

    A channel whose scales and shifts are zero in all ``norms`` is zero wherever ``readers`` read it, since each norm is
    followed by a rectifier or added to others of the group: so removing it changes no output.

    Attributes:
        name: for people.
        size: channels.
        norms: batch norms of the channels.
        writers: convolutions whose outputs they are.
        readers: convolutions and linear layers that take them in.
        is_residual: they are the sum of a stage of residual blocks, which all of its blocks write.
        output: index of the first of them in the map that the module returns; None where they stay inside.
    """

    name: str
    size: int
    norms: tuple[Span, ...]
    writers: tuple[Span, ...]
    readers: tuple[Span, ...] = ()
    is_residual: bool = False
    output: int | None = None


def renamed(group: ChannelGroup, prefix: str) -> ChannelGroup:
    """The group with ``prefix`` before the names of its layers."""
    return replace(
        group,
        name=prefix + group.name,
        norms=prefixed(group.norms, prefix),
        writers=prefixed(group.writers, prefix),
        readers=prefixed(group.readers, prefix),
    )


def joined(groups: Sequence[ChannelGroup], readers: Sequence[Span]) -> list[ChannelGroup]:
    """Groups of a module followed by layers that read its map: what was its output is read by them."""
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


def prefixed(spans: Sequence[Span], prefix: str) -> tuple[Span, ...]:
    """The spans with ``prefix`` before the names of their layers."""
    return tuple(replace(span, layer=prefix + span.layer) for span in spans)
