"""3×3 convolutions on small feature maps, forward and backward in bf16: matrix products relative to torch's kernels.

Layers with equal numbers of input and output channels, for 90 images; then nets that end in such layers: VGG19 on 64
faces of 44 pixels, ResNet18 on 90 of 160. Each pair is measured alternately.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks.record import seconds, spread
from fecnet.layers import small_maps
from fecnet.layers.small_maps import Conv3x3
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.backbone.vgg import VGG, VGG19_STAGES
from fecnet.utils.memory import keep_freed_memory

IMAGES = 90
CHANNELS, MAPS = (128, 256, 512), (2, 3, 5, 6, 7)


def run(*, quick: bool) -> dict[str, Any]:
    """Ratios of the times; above 1 products are faster."""
    keep_freed_memory()
    pairs, images = (1, 4) if quick else (7, IMAGES)
    layers = []
    for channels, size in product((32,) if quick else CHANNELS, (2,) if quick else MAPS):
        conv = Conv3x3(channels, channels).to(memory_format=torch.channels_last)
        found = times_faster(conv, torch.randn(images, channels, size, size), pairs)
        layers.append({"channels": channels, "map": f"{size}x{size}", "times_faster": found})
        print(
            f"{channels} channels, map {size}×{size}: {found['median']:.2f} × ({found['min']:.2f}–{found['max']:.2f})"
        )
    nets = {}
    for name, net, shape in (
        ("vgg19_44px", VGG(VGG19_STAGES, widths=[8] * 16 if quick else None), (2 if quick else 64, 3, 44, 44)),
        ("resnet18_160px", ResNet18(width=0.125 if quick else 1.0), (2, 3, 32, 32) if quick else (IMAGES, 3, 160, 160)),
    ):
        net.to(memory_format=torch.channels_last)
        nets[name] = times_faster(net, torch.randn(shape), pairs, only_where_it_pays=not quick)
        print(f"{name}: {nets[name]['median']:.2f} × ({nets[name]['min']:.2f}–{nets[name]['max']:.2f})")
    return {"images": images, "layers": layers, "nets": nets}


def times_faster(net: nn.Module, seen: torch.Tensor, pairs: int, *, only_where_it_pays: bool = False) -> dict[str, Any]:
    """Time without products over that with them, of forward and backward."""
    seen = seen.to(memory_format=torch.channels_last).requires_grad_()  # as for every layer but the first

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            out = net(seen)
        out.float().square().sum().backward()

    pays = (small_maps.LARGEST_MAP, small_maps.FEWEST_CHANNELS) if only_where_it_pays else (seen[0, 0].numel(), 1)
    found = []
    for _ in range(pairs + 1):
        taken = [_seconds(step, *limits) for limits in ((0, 1), pays)]
        found.append(taken[0] / taken[1])
    return spread(found[1:])


def _seconds(step: Callable[[], None], largest_map: int, fewest_channels: int) -> float:
    with patch.multiple(small_maps, LARGEST_MAP=largest_map, FEWEST_CHANNELS=fewest_channels):
        return seconds(step)
