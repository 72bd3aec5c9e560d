"""Finds the backbones of fecnet that a state dict covers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fecnet.config.defaults import _C
from fecnet.config.node import flatten
from fecnet.modeling.backbone.registry import BACKBONES
from fecnet.modeling.weight_names import Places, best_matches


def fitting_backbones(shapes: Mapping[str, torch.Size], in_channels: int) -> list[str]:
    """The settings of each backbone that the tensors cover, as arguments of the command line.

    Args:
        shapes: shapes of the tensors, by name.
        in_channels: channels of the images.
    """
    found, default = [], dict(flatten(_C))
    for name, entry in BACKBONES.items():
        for options in entry.variants(shapes) if entry.variants else ():
            with torch.device("meta"):  # only shapes, no memory
                net = entry.build(in_channels=in_channels, **{**entry.keywords(default), **options})
            if any(match.is_whole for match in best_matches(shapes, Places.of(net))):
                settings = {"MODEL.BACKBONE": name} | {entry.options[key]: value for key, value in options.items()}
                found.append(" ".join(f"{key} {_value(value)}" for key, value in settings.items()))
                break
    return found


def _value(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, list) else str(value).lower()
