"""Builds optimizer, schedule, gradient rules and weight average from ``cfg.SOLVER``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

import torch
from easydict import EasyDict
from torch import nn

from fecnet.solver import schedules
from fecnet.solver.apex import apex_optimizer
from fecnet.solver.ema import EMA
from fecnet.solver.gradient_rules import GradientRule, clip_norm, clip_value, l1_on_scales
from fecnet.solver.schedules import PlateauSchedule, Schedule
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.lookup import lookup

_Groups = list[dict[str, object]]

_FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")  # on other devices, torch's foreach implementation is used


def build_optimizer(cfg: EasyDict, model: nn.Module, criterion: nn.Module | None = None) -> torch.optim.Optimizer:
    """The optimizer over all trainable parameters.

    Up to four groups: the backbone (``model.backbone``) and the rest, each with and without weight decay; and one
    without weight decay for the criterion's parameters. Each has a "base_lr", which the schedule's factor multiplies.

    Raises:
        UserError: a setting is unknown or out of range, or no parameter is trainable.
    """
    solver = cfg.SOLVER
    build = lookup(_OPTIMIZERS, solver.OPTIMIZER, key="SOLVER.OPTIMIZER")
    _check("BASE_LR", solver.BASE_LR, 0 < solver.BASE_LR < math.inf, "above 0")
    _check("WEIGHT_DECAY", solver.WEIGHT_DECAY, 0 <= solver.WEIGHT_DECAY < math.inf, "0 or more")
    _check("MOMENTUM", solver.MOMENTUM, 0 <= solver.MOMENTUM < 1, "0 or more, below 1")
    _check("BACKBONE_LR_FACTOR", solver.BACKBONE_LR_FACTOR, 0 <= solver.BACKBONE_LR_FACTOR < math.inf, "0 or more")
    groups = _parameter_groups(solver, model)
    if criterion is not None and (parameters := list(criterion.parameters())):
        groups.append({"params": parameters, "lr": solver.BASE_LR, "base_lr": solver.BASE_LR, "weight_decay": 0.0})
    return build(solver, groups)


def _parameter_groups(solver: EasyDict, model: nn.Module) -> _Groups:
    """Non-empty parameter groups in the model's order."""
    backbone = getattr(model, "backbone", None)
    if backbone is None and solver.BACKBONE_LR_FACTOR != 1:
        raise ConfigError(
            f"SOLVER.BACKBONE_LR_FACTOR: {solver.BACKBONE_LR_FACTOR}; allowed: 1, since this model has no backbone"
        )
    in_backbone = set() if backbone is None else {id(parameter) for parameter in backbone.parameters()}
    grouped: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            decays = solver.DECAY_BIAS_NORM or parameter.ndim > 1  # biases and norm parameters are vectors
            grouped.setdefault((id(parameter) in in_backbone, decays), []).append(parameter)
    if not grouped:
        raise UserError("no parameter takes a gradient; allowed: a MODEL.FREEZE_BACKBONE that leaves some to train")
    groups: _Groups = []
    for (is_backbone, decays), parameters in grouped.items():
        base_lr = solver.BASE_LR * (solver.BACKBONE_LR_FACTOR if is_backbone else 1.0)
        weight_decay = solver.WEIGHT_DECAY if decays else 0.0
        groups.append({"params": parameters, "lr": base_lr, "base_lr": base_lr, "weight_decay": weight_decay})
    return groups


def _adam(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    fused = _can_fuse(groups)
    return torch.optim.Adam(groups, fused=fused, foreach=not fused)


def _adamw(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    fused = _can_fuse(groups)
    return torch.optim.AdamW(groups, fused=fused, foreach=not fused)


def _sgd(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    fused = _can_fuse(groups)
    optimizer = torch.optim.SGD(groups, momentum=solver.MOMENTUM, fused=fused, foreach=not fused)
    if solver.MOMENTUM:
        # Zero buffers give the same first step as none. But if the finite guard blocks a fused first step, the buffers
        # that it creates stay uninitialised, and a checkpoint would save them.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _rmsprop(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, momentum=solver.MOMENTUM, foreach=True)


def _nadam(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    return torch.optim.NAdam(groups, foreach=True)


def _fused_adam(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    return apex_optimizer("FusedAdam", groups, instead="use 'adam', which torch fuses itself", adam_w_mode=False)


def _fused_lamb(solver: EasyDict, groups: _Groups) -> torch.optim.Optimizer:
    # Its built-in clipping (norm 1 by default) is off: SOLVER.CLIP_NORM controls clipping.
    instead = "torch has no LAMB; use 'adamw', the nearest, which torch fuses itself"
    return apex_optimizer("FusedLAMB", groups, instead=instead, max_grad_norm=math.inf)


_OPTIMIZERS: dict[str, Callable[[EasyDict, _Groups], torch.optim.Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "nadam": _nadam,
    "fused_adam": _fused_adam,
    "fused_lamb": _fused_lamb,
}


def _can_fuse(groups: _Groups) -> bool:
    """Whether torch has fused adam, adamw and sgd on the parameters' device."""
    parameters = groups[0]["params"]
    assert isinstance(parameters, list)
    return parameters[0].device.type in _FUSED_DEVICES


def length_in_iterations(value: float, unit: str, iterations_per_epoch: int, *, key: str = "length") -> int:
    """Convert a length in the settings to iterations; a fraction of an epoch is rounded up to whole iterations.

    Args:
        value: in ``unit``.
        unit: "iteration" or "epoch", the setting SOLVER.UNIT.
        iterations_per_epoch: iterations of one pass over the training split.
        key: the setting, for the error message.

    Raises:
        UserError: the unit is unknown, or the value is negative, not finite or not a whole number of iterations.
    """
    scale = lookup({"iteration": 1, "epoch": iterations_per_epoch}, unit, key="SOLVER.UNIT")
    if not 0 <= value < math.inf:
        raise UserError(f"{key}: {value}; allowed: 0 or more {unit}s")
    if unit == "iteration" and value != int(value):
        raise UserError(f"{key}: {value}; allowed: whole iterations, since SOLVER.UNIT is 'iteration'")
    return math.ceil(Fraction(str(value)) * scale)  # exact decimals: 0.1 epochs of 30 iterations are 3, not 4


def build_schedule(cfg: EasyDict, iterations_per_epoch: int) -> Schedule:
    """The learning-rate schedule, with all lengths in iterations.

    Raises:
        UserError: a setting is unknown or out of range.
    """
    solver = cfg.SOLVER

    def length(name: str, value: float) -> int:
        return length_in_iterations(value, solver.UNIT, iterations_per_epoch, key=f"SOLVER.{name}")

    def step_size() -> int:
        _check("STEP_SIZE", solver.STEP_SIZE, solver.STEP_SIZE > 0, "above 0")
        return length("STEP_SIZE", solver.STEP_SIZE)

    def total() -> int:
        _check("LENGTH", solver.LENGTH, solver.LENGTH > 0, "above 0")
        return length("LENGTH", solver.LENGTH)

    def milestones() -> list[int]:
        converted = [length("MILESTONES", value) for value in solver.MILESTONES]
        increase = all(before < after for before, after in pairwise([0, *converted]))
        _check("MILESTONES", solver.MILESTONES, increase, "increasing lengths above 0")
        return converted

    _check("GAMMA", solver.GAMMA, 0 < solver.GAMMA <= 1, "above 0, at most 1")
    _check("WARMUP_FACTOR", solver.WARMUP_FACTOR, 0 <= solver.WARMUP_FACTOR <= 1, "0..1")
    _check("PLATEAU_PATIENCE", solver.PLATEAU_PATIENCE, solver.PLATEAU_PATIENCE >= 0, "0 or more")
    warmup = length("WARMUP", solver.WARMUP)

    def pure(decay: schedules.Decay) -> Schedule:
        return Schedule(decay, warmup=warmup, warmup_factor=solver.WARMUP_FACTOR)

    choices: dict[str, Callable[[], Schedule]] = {
        "constant": lambda: pure(schedules.constant()),
        "multistep": lambda: pure(schedules.multistep(milestones(), solver.GAMMA)),
        "step": lambda: pure(schedules.step(step_size(), solver.GAMMA)),
        "cosine": lambda: pure(schedules.cosine(total())),
        "exponential": lambda: pure(schedules.exponential(step_size(), solver.GAMMA)),
        "plateau": lambda: PlateauSchedule(
            solver.PLATEAU_PATIENCE, solver.GAMMA, warmup=warmup, warmup_factor=solver.WARMUP_FACTOR
        ),
    }
    return lookup(choices, solver.SCHEDULE, key="SOLVER.SCHEDULE")()


def build_gradient_rules(cfg: EasyDict, scales: Sequence[str] = ()) -> list[GradientRule]:
    """The active gradient rules, in order: clip_value, clip_norm, l1_on_scales.

    Args:
        cfg: the whole settings.
        scales: names of the batch norms whose scales ``SOLVER.BN_L1`` penalises.

    Raises:
        UserError: a limit is negative or not finite; or sparsity is requested and there are no scales.
    """
    solver = cfg.SOLVER
    _check("CLIP_VALUE", solver.CLIP_VALUE, 0 <= solver.CLIP_VALUE < math.inf, "0 = off, or above 0")
    _check("CLIP_NORM", solver.CLIP_NORM, 0 <= solver.CLIP_NORM < math.inf, "0 = off, or above 0")
    _check("BN_L1", solver.BN_L1, 0 <= solver.BN_L1 < math.inf, "0 = off, or above 0")
    rules: list[GradientRule] = []
    if solver.CLIP_VALUE:
        rules.append(clip_value(solver.CLIP_VALUE))
    if solver.CLIP_NORM:
        rules.append(clip_norm(solver.CLIP_NORM))
    if solver.BN_L1:
        why = "0, since no batch norm that trains here decides what `fecnet prune` removes"
        _check("BN_L1", solver.BN_L1, bool(scales), why)
        rules.append(l1_on_scales(solver.BN_L1, scales))
    return rules


def build_ema(cfg: EasyDict, model: nn.Module) -> EMA | None:
    """The exponential moving average of the weights, None where SOLVER.EMA_DECAY is 0.

    Raises:
        UserError: the decay is not in 0..1.
    """
    decay = cfg.SOLVER.EMA_DECAY
    _check("EMA_DECAY", decay, 0 <= decay < 1, "0 = off, or below 1")
    return EMA(model, decay) if decay else None


def _check(name: str, value: object, is_allowed: bool, allowed: str) -> None:
    if not is_allowed:
        raise ConfigError(f"SOLVER.{name}: {value}; allowed: {allowed}")
