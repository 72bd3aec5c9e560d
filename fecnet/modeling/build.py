"""Builds models from ``cfg``; constructors take plain keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from easydict import EasyDict

from fecnet.config.node import flatten
from fecnet.modeling.backbone.registry import BACKBONES, find_backbone
from fecnet.modeling.head.registry import HEADS
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.neck.registry import NECKS
from fecnet.modeling.parts import BackboneEntry, Choice, HeadEntry, NeckEntry, check_used
from fecnet.utils.errors import ConfigError
from fecnet.utils.lookup import lookup


def build_model(
    cfg: EasyDict, in_channels: int, num_classes: int = 0, extra_classes: Mapping[str, int] | None = None
) -> ExpressionNet:
    """The net that ``cfg.MODEL`` describes, untrained, in training mode, on the CPU.

    Args:
        cfg: the whole settings; reads ``MODEL``, and ``DATA.INPUT_SIZE`` for a backbone of fixed input size.
        in_channels: channels of the data: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        num_classes: number of classes; 0 for an embedding only.
        extra_classes: number of classes by name of further label sets, in order; or None.

    Raises:
        UserError: an unknown name, a value that is out of range or not used by this net, or a classification head with
            fewer than two classes.
    """
    model, settings = cfg.MODEL, dict(flatten(cfg))
    backbone_entry, neck_entry, head_entry = _chosen(model)
    _check(model, settings)
    of_backbone, of_neck = _widths(cfg)
    backbone = backbone_entry.build(in_channels=in_channels, **backbone_entry.keywords(settings), **of_backbone)
    neck = neck_entry.build(in_channels=backbone.out_channels, **neck_entry.keywords(settings), **of_neck)
    of_head = {"num_classes": num_classes} if "logits" in head_entry.outputs else {}
    if of_head and num_classes < 2:
        raise ConfigError(f"MODEL.HEAD: '{model.HEAD}' with {num_classes} classes; DATA.LABELS must give two or more")
    extra = _extra_classes(model.HEAD, head_entry, extra_classes)
    head = head_entry.build(in_channels=neck.out_channels, **head_entry.keywords(settings), **of_head, **extra)
    std = per_channel(model.STD, in_channels, mask=1.0, key="MODEL.STD")
    if min(std) <= 0:
        raise ConfigError(f"MODEL.STD: {list(model.STD)}; every value must be above 0")
    mean = per_channel(model.MEAN, in_channels, mask=0.0, key="MODEL.MEAN")
    return head_entry.net(backbone, neck, head, mean=mean, std=std, freeze_backbone=model.FREEZE_BACKBONE)


def _extra_classes(name: str, head: HeadEntry, extra_classes: Mapping[str, int] | None) -> dict[str, Mapping[str, int]]:
    """The argument ``extra_classes`` of the head, where there are any."""
    if not extra_classes:
        return {}
    if not head.takes_extra:
        able = ", ".join(name for name, entry in HEADS.items() if entry.takes_extra)
        raise ConfigError(
            f"DATA.EXTRA_LABELS: {list(extra_classes)}, but MODEL.HEAD '{name}' gives classes of one label set at "
            f"most; allowed here: none, or a head of: {able}"
        )
    few = [f"'{label_set}' has {num}" for label_set, num in extra_classes.items() if num < 2]
    if few:
        raise ConfigError(f"DATA.EXTRA_LABELS: the number of classes of {few[0]}; allowed: two or more")
    return {"extra_classes": extra_classes}


def default_widths(cfg: EasyDict) -> tuple[list[int], list[int]]:
    """The channel counts of backbone and neck where ``MODEL.LAYER_CHANNELS`` is empty; empty lists where fixed.

    Raises:
        UserError: an unknown backbone or neck, or one of their settings out of range.
    """
    settings = dict(flatten(cfg))
    of_backbone, of_neck = (
        entry.default_widths(**entry.keywords(settings)) if entry.default_widths else []
        for entry in _chosen(cfg.MODEL)[:2]
    )
    return of_backbone, of_neck


def _chosen(model: EasyDict) -> tuple[BackboneEntry, NeckEntry, HeadEntry]:
    return (
        find_backbone(model.BACKBONE),
        lookup(NECKS, model.NECK, key="MODEL.NECK"),
        lookup(HEADS, model.HEAD, key="MODEL.HEAD"),
    )


def _widths(cfg: EasyDict) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """The argument ``widths`` of backbone and neck, where ``MODEL.LAYER_CHANNELS`` is set."""
    of_backbone, of_neck = default_widths(cfg)
    given, own = list(cfg.MODEL.LAYER_CHANNELS), of_backbone + of_neck
    if not given:
        return {}, {}
    if len(given) != len(own):
        raise ConfigError(
            f"MODEL.LAYER_CHANNELS: {len(given)} numbers, {given}; allowed for {cfg.MODEL.BACKBONE} with neck "
            f"'{cfg.MODEL.NECK}': empty, or {len(own)} numbers such as its own, {own}"
        )
    split = len(of_backbone)
    return {"widths": given[:split]}, {"widths": given[split:]} if of_neck else {}


def _check(model: EasyDict, settings: Mapping[str, Any]) -> None:
    for key in ("NECK_CHANNELS", "FEATURE_DIM", "EMBEDDING_DIM", "PROJECTION_ORDER"):
        if model[key] < 1:
            raise ConfigError(f"MODEL.{key}: {model[key]}; must be at least 1")
    if not 0 <= model.DROPOUT < 1:
        raise ConfigError(f"MODEL.DROPOUT: {model.DROPOUT}; must be at least 0 and below 1")
    check_used(
        settings,
        [
            Choice("MODEL.BACKBONE", {**BACKBONES, model.BACKBONE: find_backbone(model.BACKBONE)}, [model.BACKBONE]),
            Choice("MODEL.NECK", NECKS, [model.NECK]),
            Choice("MODEL.HEAD", HEADS, [model.HEAD]),
        ],
    )


def per_channel(values: Sequence[float], channels: int, *, mask: float, key: str) -> list[float]:
    """Expand a setting to one value per channel.

    Colour statistics do not apply to a mask, which is in 0..1 already. So where ``values`` has one value, or one per
    colour channel, the mask channel gets ``mask``.

    Args:
        values: one value, one per colour channel, or one per channel.
        channels: channels of the data; 2 is grey and mask, 4 is colour and mask.
        mask: value for a mask channel that is not in ``values``.
        key: the setting, for the error message.

    Raises:
        UserError: a wrong number of values.
    """
    colours = channels - 1 if channels in (2, 4) else channels
    allowed = sorted({1, colours, channels})
    if len(values) not in allowed:
        numbers = " or ".join(map(str, allowed))
        note = " (the last channel is a mask)" if colours < channels else ""
        raise ConfigError(f"{key}: {len(values)} values for {channels} channels{note}; give {numbers}")
    if len(values) == channels:
        return [float(value) for value in values]
    colour = [float(value) for value in values] * (colours // len(values))
    return colour + [mask] * (channels - colours)
