"""Euclidean norms over channels and over windows, safe at zero and in half precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A vector shorter than this is divided by EPS instead of its norm: the gradient stays finite at zero, and every longer
# vector gets unit norm to float32 rounding, which an epsilon under the root would not give.
EPS = 1e-6


def l2_normalize(x: Tensor) -> Tensor:
    """Normalise vectors along dimension 1 to unit norm, always in float32: half precision keeps only 3 digits.

    Args:
        x: float of any precision, shape (N, D) or (N, C, H, W).

    Returns:
        Unit vectors, float32, the shape of ``x``; a zero vector stays zero.
    """
    return F.normalize(x.float(), dim=1, eps=EPS)


class L2Norm(nn.Module):
    """Normalises the channel vector at each position to unit norm."""

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape and precision."""
        return l2_normalize(map_NCHW).to(map_NCHW.dtype)


class L2Pool(nn.Module):
    """Root of the sum of squares over 3×3 windows, stride 1, zeros around the border (FaceNet, arXiv:1503.03832).

    ``nn.LPPool2d`` has no padding, and its root has an infinite gradient at zero, a frequent output of a ReLU.
    """

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape and precision."""
        # squares in float32: in float16 they overflow from 256 on
        square = map_NCHW.float().square()
        total = F.avg_pool2d(square, kernel_size=3, stride=1, padding=1, divisor_override=1)
        return torch.sqrt(total + EPS**2).to(map_NCHW.dtype)
