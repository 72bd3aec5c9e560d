"""What a net costs: parameters, and multiplications and activations of one image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def count_parameters(net: nn.Module) -> int:
    """Numbers that are learnt; batch norms' statistics are not."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, image_NCHW: Tensor) -> int:
    """Multiply-accumulate operations of all convolutions and linear layers that see ``image_NCHW``.

    Norms, rectifiers, pooling and the addition of biases do not count, as is the custom.

    Args:
        net: put into evaluation mode for the call.
        image_NCHW: as the net takes it; of N images the sum counts.
    """
    return sum(macs_by_layer(net, image_NCHW).values())


def macs_by_layer(net: nn.Module, image_NCHW: Tensor) -> dict[str, int]:
    """The part of each convolution and linear layer in ``count_macs``, by its name."""
    layers: dict[str, nn.Module] = {
        name: layer for name, layer in net.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))
    }

    def macs(layer: nn.Module, taken: Tensor, out: Tensor) -> int:
        return out.numel() * layer.get_parameter("weight")[0].numel()

    return _sums_by_layer(net, image_NCHW, layers, macs)


def count_activations(net: nn.Module, image_NCHW: Tensor) -> int:
    """Numbers that the layers of ``net`` take in and give out in a forward pass, all added up.

    What lies between layers, such as the sum of a residual block, does not count.

    Args:
        net: put into evaluation mode for the call.
        image_NCHW: as the net takes it; of N images the sum counts.
    """
    moves_nothing = (nn.Identity, nn.Flatten)
    layers = {
        name: layer
        for name, layer in net.named_modules()
        if not list(layer.children()) and not isinstance(layer, moves_nothing)
    }
    return sum(_sums_by_layer(net, image_NCHW, layers, lambda _, taken, out: taken.numel() + out.numel()).values())


@torch.no_grad()
def _sums_by_layer(
    net: nn.Module,
    image_NCHW: Tensor,
    layers: dict[str, nn.Module],
    count: Callable[[nn.Module, Tensor, Tensor], int],
) -> dict[str, int]:
    """What ``count`` says of each layer, its input and output, over one forward pass; 0 for what is not run."""
    found = dict.fromkeys(layers, 0)

    def counter(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def add(layer: nn.Module, taken: tuple[Tensor, ...], out: Tensor) -> None:
            found[name] += count(layer, taken[0], out)

        return add

    hooks = [layer.register_forward_hook(counter(name)) for name, layer in layers.items()]
    training = net.training
    net.eval()
    try:
        net(image_NCHW)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return found
