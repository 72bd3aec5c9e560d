"""Exponential moving average of the weights.

Used in place of torch's ``AveragedModel``, which truncates integer buffers, synchronises with the device at each update
and adds a prefix to the names in the state dict.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class EMA:
    """A second model whose weights follow the trained ones: average ← d · average + (1 − d) · weights.

    In iteration t (1-based) d is the smaller of ``decay`` and t / (t + 9), so that the initial weights, which are far
    from the trained ones, do not dominate the average for hundreds of iterations. Batch-norm statistics are averaged
    too; integer buffers are copied. ``ema.model.state_dict()`` has the names of the original model.

    Args:
        model: the model itself, not wrapped for distributed training; the average is initialised as its copy.
        decay: d after the first iterations, 0..1.

    Attributes:
        model: the averaged net, in evaluation mode and without gradients.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, iteration: int) -> None:
        """Update the average with the weights of ``model`` after ``iteration``, once per iteration."""
        averages, weights = [], []
        for average, weight in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                weights.append(weight)
            else:
                average.copy_(weight)
        torch._foreach_lerp_(averages, weights, 1 - min(self._decay, iteration / (iteration + 9)))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(parameter.detach() for parameter in model.parameters()), *model.buffers()]
