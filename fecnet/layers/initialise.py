"""First weights of a net that learns from scratch."""

from __future__ import annotations

from torch import nn


def init_convolutions(module: nn.Module) -> None:
    """Draw all convolutions of ``module`` so that variance survives a ReLU (arXiv:1502.01852); biases become 0.

    Batch norms keep PyTorch's own start: scale 1, shift 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            # fan_in keeps the forward variance: what counts where no batch norm repairs it
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_centred_linear(layer: nn.Linear) -> None:
    """Draw a linear layer that reads rectified features: rows sum to zero, bias 0.

    Rectified features are all positive, so random rows answer mostly to what all inputs have in common, and the outputs
    of different inputs start almost parallel. Rows that sum to zero are blind to a common level.
    """
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    layer.weight.data -= layer.weight.data.mean(dim=1, keepdim=True)
    nn.init.zeros_(layer.bias)
