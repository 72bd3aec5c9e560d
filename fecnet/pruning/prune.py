"""Prunes a trained run: removes channels with small scales and writes the weights and settings of the smaller net."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fecnet.config.node import Frozen, dump_config, load_config, plain
from fecnet.encoder.saved_net import build_saved_net, open_saved_net
from fecnet.engine.checkpoint import containing_folder, run_of
from fecnet.engine.checkpointer import Checkpointer, make_folder
from fecnet.engine.description import CheckpointInfo
from fecnet.evaluation.scales import plot_scales, scale_history
from fecnet.modeling.channels import ChannelGroup
from fecnet.modeling.cost import count_macs, count_parameters, macs_by_layer
from fecnet.nets.shipped import is_shipped
from fecnet.pruning.slimming import (
    Choice,
    Keep,
    by_ratio,
    by_target,
    importance,
    kept_macs,
    kept_parameters,
    pruned_state,
    removable_groups,
)
from fecnet.utils.errors import UserError
from fecnet.utils.files import replace_text, whole_or_absent
from fecnet.utils.table import align_columns

logger = logging.getLogger(__name__)

_ALIKE = 0.2  # standard deviation of scales divided by their mean; VGG19 had 0.03 where pruning failed, else 0.6
_THIN = 0.1  # share of a layer's channels below which a warning is logged; chosen by hand


@dataclass(frozen=True)
class Goal:
    """How much to remove; exactly one of the first three.

    Attributes:
        ratio: share of the channels, between 0 and 1.
        parameters: maximum number of parameters of the pruned net.
        macs: maximum number of multiply-accumulate operations of the pruned net for one image.
        least: minimum share of each layer's channels to keep; at least one channel is kept.
    """

    ratio: float | None = None
    parameters: int | None = None
    macs: int | None = None
    least: float = 0.0


def prune_run(path: str, goal: Goal, *, checkpoint: str = "best", inner: bool = False, output: str = "") -> Path:
    """Write the pruned net of a checkpoint as a new, untrained run.

    Its ``config.yaml`` is the recipe for fine-tuning: the run's settings with the pruned net's weights and
    ``MODEL.LAYER_CHANNELS``.

    Args:
        path: a run or checkpoint folder.
        goal: how much is removed.
        checkpoint: ``best`` or ``last``, for a run folder.
        inner: prune only channels inside residual blocks, not the residual stream, as in the published code.
        output: folder to write; empty for the run's name with ``-pruned``.

    Returns:
        The folder.

    Raises:
        UserError: no checkpoint, a goal out of range, a net that cannot be pruned, or a folder that exists.
    """
    source, info, cfg, net = open_saved_net(path, checkpoint)
    groups = removable_groups(net, cfg.MODEL.BACKBONE)
    image = torch.zeros(1, len(info.preprocessing.channels), cfg.DATA.INPUT_SIZE, cfg.DATA.INPUT_SIZE)
    macs = macs_by_layer(net, image)
    importances = [
        torch.full_like(value_C, torch.inf) if (inner and group.is_residual) or _is_frozen(net, group) else value_C
        for group, value_C in zip(groups, importance(net, groups), strict=True)
    ]
    scale_S = torch.cat([value_C[value_C.isfinite()] for value_C in importances])
    choice = _choose(net, groups, importances, goal, macs)
    _warn_of_scales(source, scale_S, cfg.SOLVER.BN_L1)
    folder = _output_folder(source, output)
    history = scale_history(containing_folder(source) / "metrics.jsonl")
    small_cfg = _settings(cfg, folder, source, info, choice)
    small = build_saved_net(small_cfg, info)
    small.load_state_dict(pruned_state(net, groups, choice.keep))
    before, after = (_costs(each, image) for each in (net, small))
    described = {
        **_describe(choice, source, info.iteration, cfg, goal.least),
        "widths_before": [group.size for group in groups],
        "before": before,
        "after": after,
    }
    with whole_or_absent(folder) as partial:
        _write(partial, small, small_cfg, replace(info, pruned=described))
        _plot(partial, scale_S, choice, history)
    _print(groups, choice, before, after)
    logger.info(
        f"\n{folder}: written, not trained since; evaluate it with: fecnet evaluate {folder}\n"
        f"fine-tune it with: fecnet train {folder}/config.yaml SOLVER.BN_L1 0"
    )
    return folder


def _warn_of_scales(checkpoint: Path, scale_S: Tensor, sparsity: float) -> None:
    """Warn where the scales carry little information about importance."""
    mean, deviation = float(scale_S.mean()), float(scale_S.std(correction=0))
    if not sparsity:
        logger.info(
            f"{checkpoint}: trained with SOLVER.BN_L1 0, so its scales do not show which channels are unimportant and "
            "pruning costs more accuracy; train with SOLVER.BN_L1 above 0, see docs/pruning.md"
        )
    elif deviation <= _ALIKE * mean:
        logger.info(
            f"{checkpoint}: its scales hardly differ ({mean:.3g} ± {deviation:.2g}), so they do not show which "
            f"channels are unimportant and pruning costs more accuracy; train with a SOLVER.BN_L1 above {sparsity:g}, "
            "see docs/pruning.md"
        )


def _is_frozen(net: nn.Module, group: ChannelGroup) -> bool:
    """Whether its scales were frozen by ``MODEL.FREEZE_BACKBONE`` and so carry no information."""
    return not all(net.get_submodule(norm.layer).get_parameter("weight").requires_grad for norm in group.norms)


def _choose(
    net: nn.Module, groups: list[ChannelGroup], importances: list[Tensor], goal: Goal, macs: Mapping[str, int]
) -> Choice:
    if goal.ratio is not None:
        return by_ratio(importances, goal.ratio, least=goal.least)
    costs: dict[str, tuple[int | None, Callable[[Keep], int]]] = {
        "target parameters": (goal.parameters, lambda keep: kept_parameters(net, groups, keep)),
        "target MACs": (goal.macs, lambda keep: kept_macs(net, groups, keep, macs)),
    }
    name, (target, cost) = next((name, of) for name, of in costs.items() if of[0] is not None)
    assert target is not None
    return by_target(importances, target, cost, name, least=goal.least)


def _output_folder(checkpoint: Path, output: str) -> Path:
    if output:
        folder = Path(output)
    else:
        run = containing_folder(checkpoint) if is_shipped(checkpoint) else run_of(checkpoint)
        folder = run.with_name(f"{run.name}-pruned")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; give another with --output, or remove it")
    return folder


def _settings(cfg: Frozen, folder: Path, checkpoint: Path, info: CheckpointInfo, choice: Choice) -> Frozen:
    """The run's settings for the pruned net, initialised with its weights."""
    origin = f"{info.data.name}, iteration {info.iteration} of {containing_folder(checkpoint).resolve().name}"
    history = f"{origin}; {choice.removed} of {choice.total} channels removed"
    if info.pruned is not None:  # pruned twice without training: include the first net's origin
        history += f"; before that: {cfg.MODEL.PRETRAINED_ON}"
    model = {
        "LAYER_CHANNELS": choice.widths,
        "PRETRAINED": str(folder / "checkpoints" / "0" / "model.safetensors"),
        "PRETRAINED_ON": history,
        "PRETRAINED_PARTS": "all",
    }
    run = {"NAME": f"{folder.resolve().name}-tuned", "OUTPUT_DIR": str(folder.parent)}
    return load_config(base={**plain(cfg), **run, "MODEL": {**plain(cfg.MODEL), **model}})


def _describe(choice: Choice, checkpoint: Path, iteration: int, cfg: Frozen, least: float) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "iteration": iteration,
        "sparsity": cfg.SOLVER.BN_L1,
        "removed": choice.removed,
        "of": choice.total,
        "threshold": choice.threshold,
        "spared": choice.spared,
        "least": least,
    }


def _costs(net: nn.Module, image_NCHW: Tensor) -> dict[str, int]:
    return {"parameters": count_parameters(net), "macs": count_macs(net, image_NCHW)}


def _write(folder: Path, net: nn.Module, cfg: Frozen, info: CheckpointInfo) -> None:
    make_folder(folder / "checkpoints")
    checkpointer = Checkpointer(folder / "checkpoints", keep=0)
    # neither evaluated nor trained, unlike its origin
    described = replace(info, iteration=0, config=plain(cfg), accuracy=None, seconds=0.0, length=0)
    try:
        checkpointer.save(described, weights=net.state_dict(), trainer={}, best=False)
        checkpointer.finish()
    finally:
        checkpointer.close()
    replace_text(folder / "config.yaml", dump_config(cfg))  # last: it names the weights


def _print(groups: list[ChannelGroup], choice: Choice, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    rows = [
        (group.name, group.size, "→", kept, "(sum of blocks)" if group.is_residual else "")
        for group, kept in zip(groups, choice.widths, strict=True)
    ]
    logger.info(align_columns(rows))
    logger.info(
        f"\n{choice.removed} of {choice.total} channels removed ({100 * choice.removed / choice.total:.1f} %), "
        f"those with scales up to {choice.threshold:.4g}"
        + (f"; {choice.spared} of the smallest stay, so that each layer keeps its share" if choice.spared else "")
        + (f", {choice.asked - choice.removed} fewer are removed than asked" if choice.removed < choice.asked else "")
    )
    thin = [
        f"{group.name} ({kept} of {group.size})"
        for group, kept in zip(groups, choice.widths, strict=True)
        if kept < _THIN * group.size
    ]
    if thin:
        logger.info(
            f"nearly emptied: {', '.join(thin)}; fine-tuning may not recover it: --min-keep 0.25 leaves each a quarter"
        )
    for key, name in (("parameters", "parameters"), ("macs", "MACs per face")):
        ratio = before[key] / after[key]
        logger.info(f"{name:<13}  {before[key]:>13,} → {after[key]:>13,}  ({ratio:.2f} times fewer)")


def _plot(folder: Path, scale_S: Tensor, choice: Choice, history: Sequence[Mapping[str, Any]]) -> None:
    """Plot ``scales.png``; without matplotlib log that it was skipped."""
    try:
        plot_scales(scale_S, folder / "scales.png", threshold=choice.threshold, history=history)
    except UserError as error:
        logger.info(f"scales.png: not written: {error}")
