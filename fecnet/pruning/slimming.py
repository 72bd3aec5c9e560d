"""Network slimming (arXiv:1708.06519): selects channels by the scales of their batch norms, and removes them.

C channels of a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fecnet.modeling.backbone.registry import BACKBONES
from fecnet.modeling.channels import ChannelGroup, Span
from fecnet.modeling.deviation_net import DeviationNet
from fecnet.utils.errors import ConfigError, UserError

_NONE = "no channel may be removed: all are frozen (MODEL.FREEZE_BACKBONE) or sums of residual blocks (--inner)"
Keep = list[Tensor]  # mask of the kept channels of each group, bool, shape (C,)


@dataclass(frozen=True)
class Choice:
    """The channels to keep.

    Attributes:
        keep: mask of the kept channels of each group, bool.
        threshold: the largest removed importance; 0 if nothing is removed.
        removed: number of removed channels.
        total: number of channels that could be removed, including the last one of each group.
        spared: channels among the smallest that are kept for the minimum share of their group.
        asked: number of channels to remove.
    """

    keep: Keep
    threshold: float
    removed: int
    total: int
    spared: int
    asked: int

    @property
    def widths(self) -> list[int]:
        """Number of kept channels of each group: ``MODEL.LAYER_CHANNELS`` of the pruned net."""
        return [int(keep_C.sum()) for keep_C in self.keep]


def scale_names(groups: Sequence[ChannelGroup]) -> list[str]:
    """The batch norms whose scales rank the channels, each once, in the order of the groups."""
    return list(dict.fromkeys(norm.layer for group in groups for norm in group.norms))


def absolute_scales(net: nn.Module, names: Sequence[str]) -> Tensor:
    """|γ| of the batch norms with these names, one after the other, float32, on the CPU."""
    return torch.cat([_weight(net, name).detach() for name in names]).abs().float().cpu()


def importance(net: nn.Module, groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """|γ| of each channel, float32, shape (C,) each; where several batch norms have the channel, the largest."""
    found = []
    for group in groups:
        scales = [_weight(net, norm.layer)[norm.offset :][: group.size] for norm in group.norms]
        found.append(torch.stack(scales).detach().abs().amax(dim=0).float().cpu())
    return found


def by_ratio(importances: Sequence[Tensor], ratio: float, *, least: float = 0.0) -> Choice:
    """Remove the share ``ratio`` of all channels, the least important first, except for the minimum of each group.

    Channels of infinite importance are never removed, and do not count.

    Args:
        importances: importance of the channels of each group, shape (C,) each.
        ratio: between 0 and 1.
        least: minimum share of each group to keep, rounded up; at least one channel.

    Raises:
        UserError: the ratio is not between 0 and 1, or removes no channel; an impossible share.
    """
    _check_least(least)
    if not 0 < ratio < 1:
        raise UserError(f"ratio {ratio:g}; allowed: above 0 and below 1")
    total = _removable(importances)
    count = int(ratio * total + 1e-6)  # 0.7 of 90 are 63, also where 0.7 · 90 comes out a little smaller
    if not total:
        raise UserError(_NONE)
    if not count:
        raise UserError(f"ratio {ratio:g}: none of {total} channels; allowed: {1 / total:.2g} or more")
    choice = _choose(importances, count, least)
    if not choice.removed:
        raise UserError(f"ratio {ratio:g}: none of {total} channels may go, since each layer keeps its share")
    return choice


def by_target(
    importances: Sequence[Tensor], target: int, cost: Callable[[Keep], int], name: str, *, least: float = 0.0
) -> Choice:
    """Remove the fewest channels that bring the cost to ``target`` or below, the least important first.

    Args:
        importances: importance of the channels of each group, shape (C,) each.
        target: largest cost allowed.
        cost: cost of the net with the kept channels; never increases when more are removed.
        name: name of the cost, for the error message.
        least: minimum share of each group to keep, rounded up; at least one channel.

    Raises:
        UserError: the net is no larger than the target, or no net of its kind is small enough; an impossible share.
    """
    _check_least(least)
    total = _removable(importances)
    if not total:
        raise UserError(_NONE)
    whole, smallest = (cost(_choose(importances, count, least).keep) for count in (0, total))
    if not smallest <= target < whole:
        left = f"{100 * least:g} % of each layer left" if least else "one channel left where any may go"
        raise UserError(f"{target:,} {name}; allowed: {smallest:,} ({left}) to {whole - 1:,}")
    enough, too_few = total, 0
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if cost(_choose(importances, middle, least).keep) <= target:
            enough = middle
        else:
            too_few = middle
    return _choose(importances, enough, least)


def _check_least(least: float) -> None:
    if not 0 <= least < 1:
        raise UserError(f"least share of a layer {least:g}; allowed: 0 or more, below 1")


def _removable(importances: Sequence[Tensor]) -> int:
    return int(torch.cat(list(importances)).isfinite().sum())


def _choose(importances: Sequence[Tensor], count: int, least: float) -> Choice:
    """Remove the ``count`` smallest removable channels, or all of them; the first of equal ones.

    Each group keeps its share ``least`` with the largest importances, rounded up, and at least one channel.
    """
    every = torch.cat(list(importances))
    stays = torch.cat([_must_stay(value_C, least) for value_C in importances])
    removed = torch.zeros_like(stays)
    removed[torch.argsort(every.masked_fill(stays, math.inf), stable=True)[:count]] = True
    removed &= every.isfinite() & ~stays
    return Choice(
        keep=[~part_C for part_C in removed.split([len(value_C) for value_C in importances])],
        threshold=float(every[removed].max()) if removed.any() else 0.0,
        removed=int(removed.sum()),
        total=_removable(importances),
        spared=int(stays[torch.argsort(every, stable=True)[:count]].sum()),
        asked=count,
    )


def _must_stay(value_C: Tensor, least: float) -> Tensor:
    """Mask of the largest share ``least`` of a group, bool, shape (C,); the first of equal ones."""
    count = max(1, math.ceil(least * len(value_C) - 1e-6))  # 0.07 of 100 are 7, also where it comes out a little larger
    stays_C = torch.zeros(len(value_C), dtype=torch.bool)
    stays_C[torch.argsort(value_C, descending=True, stable=True)[:count]] = True
    return stays_C


def pruned_state(net: nn.Module, groups: Sequence[ChannelGroup], keep: Keep) -> dict[str, Tensor]:
    """The weights and statistics of ``net`` without the removed channels, for a net whose widths are those kept."""
    state = net.state_dict()
    for (layer, dim), keep_X in _axes(net, groups, keep).items():
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = state.get(f"{layer}.{name}")
            if tensor is not None and tensor.ndim > dim:
                state[f"{layer}.{name}"] = tensor.index_select(dim, keep_X.nonzero()[:, 0].to(tensor.device))
    return state


def kept_parameters(net: nn.Module, groups: Sequence[ChannelGroup], keep: Keep) -> int:
    """Parameters of the pruned net."""
    axes, total = _axes(net, groups, keep), 0
    for name, parameter in net.named_parameters():
        layer = name.rpartition(".")[0]
        sizes = [int(axes[layer, dim].sum()) if (layer, dim) in axes else n for dim, n in enumerate(parameter.shape)]
        total += math.prod(sizes)
    return total


def kept_macs(net: nn.Module, groups: Sequence[ChannelGroup], keep: Keep, macs: Mapping[str, int]) -> int:
    """Multiply-accumulate operations of the pruned net.

    Args:
        net: the net before pruning.
        groups: its channels.
        keep: kept channels of each group.
        macs: multiply-accumulate operations of ``net`` by layer.
    """
    axes, found = _axes(net, groups, keep), dict(macs)
    for (layer, _), keep_X in axes.items():
        if layer in found:  # not a norm
            found[layer] = found[layer] // len(keep_X) * int(keep_X.sum())
    return sum(found.values())


def _axes(net: nn.Module, groups: Sequence[ChannelGroup], keep: Keep) -> Mapping[tuple[str, int], Tensor]:
    """Masks of what is kept along the axes of the layers: output channels along 0, input channels along 1."""
    axes: dict[tuple[str, int], Tensor] = {}

    def cut(spans: Sequence[Span], dim: int, keep_C: Tensor) -> None:
        for span in spans:
            size = _weight(net, span.layer).shape[dim]
            axis = axes.setdefault((span.layer, dim), torch.ones(size, dtype=torch.bool))
            axis[span.offset : span.offset + len(keep_C)] = keep_C

    for group, keep_C in zip(groups, keep, strict=True):
        cut(group.norms + group.writers, 0, keep_C)
        cut(group.readers, 1, keep_C)
    return axes


def _weight(net: nn.Module, layer: str) -> Tensor:
    return net.get_submodule(layer).get_parameter("weight")


def removable_groups(net: nn.Module, backbone: str) -> list[ChannelGroup]:
    """The channel groups of a net.

    Raises:
        UserError: it has none.
    """
    if isinstance(net, DeviationNet):
        raise ConfigError(
            "MODEL.HEAD: 'deviation' cannot be pruned: each channel is in both branches; allowed: another head"
        )
    describe: Callable[[], list[ChannelGroup]] | None = getattr(net, "channel_groups", None)
    groups = [] if describe is None else describe()
    if not groups:
        norms = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in net.modules())
        why = "its channels are not described for it" if norms else "it has no batch norm, whose scales would choose"
        allowed = ", ".join(name for name, entry in BACKBONES.items() if entry.default_widths)
        raise ConfigError(f"MODEL.BACKBONE: '{backbone}' cannot be pruned: {why}; allowed: {allowed}")
    return groups
