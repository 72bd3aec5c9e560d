"""Exponential moving average of the weights.

Own, since torch's ``AveragedModel`` truncates integer buffers, reads its counter back each time and adds a prefix to
the state's names.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class EMA:
    """A second model whose weights follow the trained ones: average ← decay · average + (1 − decay) · weights.

    Batch-norm statistics are averaged alike, integer buffers are copied. Save ``ema.model.state_dict()``: its names
    are the model's own.

    Args:
        model: the net itself, not wrapped for distribution; the average starts as its copy.
        decay: share of the average that each update keeps, 0..1.

    Attributes:
        model: the averaged net, in evaluation mode and without gradients.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``, once after each iteration."""
        averages, weights = [], []
        for average, weight in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                weights.append(weight)
            else:
                average.copy_(weight)
        torch._foreach_lerp_(averages, weights, 1 - self._decay)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(parameter.detach() for parameter in model.parameters()), *model.buffers()]
