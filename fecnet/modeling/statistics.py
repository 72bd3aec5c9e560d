"""Measures batch-norm statistics for a net that was saved without them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def take_statistics(backbone: nn.Module, image_NCHW: Tensor) -> None:
    """Set the statistics of each batch norm to the mean and variance of its input, without changing what it computes.

    Scale and shift are changed accordingly. Without this, a net that was saved with a fixed scale and shift instead of
    batch norms would start training with other outputs, since the batch norms would normalise by the batch.

    Args:
        backbone: its batch norms are changed in place.
        image_NCHW: normalised images as in training, float, shape (N, C, H, W).
    """
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_absorb) for norm in norms]
    mode = backbone.training
    backbone.eval()(image_NCHW)
    backbone.train(mode)
    for hook in hooks:
        hook.remove()


def _absorb(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    variance_C, mean_C = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
    scale_C = norm.weight / (norm.running_var + norm.eps).sqrt()  # the saved scale of the input
    norm.bias.add_(scale_C * (mean_C - norm.running_mean))
    norm.weight.copy_(scale_C * (variance_C + norm.eps).sqrt())
    norm.running_mean.copy_(mean_C)
    norm.running_var.copy_(variance_C)
