"""Guesses the options of a backbone from the names and shapes of the tensors in a file.

The guesses are checked later: a net is built with them and compared with the file. A backbone is not proposed where the
file lacks a tensor that every such net has; prefixes of the names are ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

Shapes = Mapping[str, torch.Size]
Options = dict[str, Any]

_CONV_OF_BLOCK = re.compile(r"(?:^|\.)(?:layer)?(\d+)\.(\d+)\.conv1\.weight$")  # stage and block
_FC = re.compile(r"(?:^|\.)(?:fc|\d+)\.weight$")
_IRESNET_CHANNELS, _IRESNET_STRIDE = 512, 16


def where(pattern: str, *options: Options) -> Callable[[Shapes], Iterator[Options]]:
    """Propose ``options``, by default the backbone's defaults, where the name of a tensor contains ``pattern``."""

    def variants(shapes: Shapes) -> Iterator[Options]:
        if any(re.search(pattern, name) for name in shapes):
            yield from options or ({},)

    return variants


def resnet_variants(shapes: Shapes) -> Iterator[Options]:
    """Propose the blocks of each stage and the width, with either stem."""
    blocks: dict[int, int] = {}
    channels = {}
    for name, shape in shapes.items():
        if found := _CONV_OF_BLOCK.search(name):
            stage, block = map(int, found.groups())
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
            channels[stage] = shape[0]
    if 1 <= len(blocks) <= 4:
        options = {"width": channels[min(blocks)] / 64, "blocks": [blocks[stage] for stage in sorted(blocks)]}
        yield from ({**options, "stem": stem} for stem in ("imagenet", "cifar"))


def iresnet_variants(shapes: Shapes) -> Iterator[Options]:
    """Propose a net with the FC, for the image size that it was built for, and one without."""
    if not any(name.endswith(".prelu.weight") for name in shapes):
        return
    for name, shape in shapes.items():
        if len(shape) == 2 and _FC.search(name) and shape[1] % _IRESNET_CHANNELS == 0:
            side = math.isqrt(shape[1] // _IRESNET_CHANNELS)
            yield {"with_fc": True, "input_size": side * _IRESNET_STRIDE}
    yield {"with_fc": False}
