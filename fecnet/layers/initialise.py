"""Weight initialisation for training from scratch."""

from __future__ import annotations

from torch import nn


def init_convolutions(module: nn.Module) -> None:
    """He initialisation of all convolutions of ``module``, which preserves variance through a ReLU (arXiv:1502.01852).

    Biases become 0. Batch norms keep PyTorch's initialisation: scale 1, shift 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            # fan_in preserves the forward variance, which matters without batch norm
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_centred_linear(layer: nn.Linear) -> None:
    """Initialise a linear layer on rectified features: rows sum to zero, bias 0.

    Rectified features are non-negative, so the outputs of random rows depend mostly on what all inputs share, and start
    almost parallel for different inputs. Rows that sum to zero ignore the common mean.
    """
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    layer.weight.data -= layer.weight.data.mean(dim=1, keepdim=True)
    nn.init.zeros_(layer.bias)
