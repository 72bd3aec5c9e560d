"""Cost of a net: number of parameters, multiply-accumulate operations and activations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(net: nn.Module) -> int:
    """Number of learnable parameters; batch-norm statistics do not count."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, image_NCHW: Tensor) -> int:
    """Multiply-accumulate operations of all convolutions and linear layers for ``image_NCHW``.

    Norms, activation functions, pooling and biases do not count, by convention.

    Args:
        net: put into evaluation mode for the call.
        image_NCHW: input of the net; the result is the sum over its N images.
    """
    return sum(macs_by_layer(net, image_NCHW).values())


@torch.no_grad()
def macs_by_layer(net: nn.Module, image_NCHW: Tensor) -> dict[str, int]:
    """``count_macs`` of each convolution and linear layer, by name."""
    with _in_evaluation_mode(net), FlopCounterMode(display=False) as counter:
        net(image_NCHW)
    flops, root = counter.get_flop_counts(), type(net).__name__
    return {
        name: sum(flops.get(f"{root}.{name}", {}).values()) // 2  # one MAC is two FLOPs
        for name, layer in net.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }


@torch.no_grad()
def count_activations(net: nn.Module, image_NCHW: Tensor) -> int:
    """Total number of input and output elements of all layers of ``net`` in a forward pass.

    Operations between layers, such as the addition in a residual block, do not count.

    Args:
        net: put into evaluation mode for the call.
        image_NCHW: input of the net; the result is the sum over its N images.
    """
    total = 0

    def add(layer: nn.Module, taken: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        total += taken[0].numel() + out.numel()

    moves_nothing = (nn.Identity, nn.Flatten)
    layers = [layer for layer in net.modules() if not list(layer.children()) and not isinstance(layer, moves_nothing)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    try:
        with _in_evaluation_mode(net):
            net(image_NCHW)
    finally:
        for hook in hooks:
            hook.remove()
    return total


@contextmanager
def _in_evaluation_mode(net: nn.Module) -> Iterator[None]:
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)
