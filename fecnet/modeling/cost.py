"""What a net costs: parameters, and multiplications of one image."""

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


@torch.no_grad()
def macs_by_layer(net: nn.Module, image_NCHW: Tensor) -> dict[str, int]:
    """The part of each convolution and linear layer in ``count_macs``, by its name."""
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))}
    found = dict.fromkeys(layers, 0)

    def counter(name: str, layer: nn.Conv2d | nn.Linear) -> Callable[[nn.Module, object, Tensor], None]:
        def count(_: nn.Module, taken: object, out: Tensor) -> None:
            found[name] += out.numel() * layer.weight[0].numel()

        return count

    hooks = [layer.register_forward_hook(counter(name, layer)) for name, layer in layers.items()]
    training = net.training
    net.eval()
    try:
        net(image_NCHW)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return found
