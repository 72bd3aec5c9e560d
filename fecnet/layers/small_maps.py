"""3×3 convolutions that train fast on small feature maps.

N images, C input channels, O output channels, map H × W, kernel K × K = 3 × 3; P = N·H·W positions, X = 9·C values of
a position's neighbourhood.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LARGEST_MAP = 25  # positions of a feature map
FEWEST_CHANNELS = 256


class Conv3x3(nn.Conv2d):
    """3×3 convolution of stride 1 and padding 1; parameters and results are those of ``nn.Conv2d``.

    In bf16 on CPUs, oneDNN's weight gradient of many channels over a small map takes several times as long as the
    equivalent matrix product (``python -m benchmarks small_maps``). There the convolution is computed as matrix
    products (im2col).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        bias: add a learned bias to each output channel.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        if not self._is_faster_as_products(map_NCHW):
            return super().forward(map_NCHW)
        out_NOHW: Tensor = _AsProducts.apply(map_NCHW.bfloat16(), self.weight.bfloat16(), self.bias)
        return out_NOHW

    def _is_faster_as_products(self, map_NCHW: Tensor) -> bool:
        if not torch.is_grad_enabled() or map_NCHW.device.type != "cpu":
            return False
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else map_NCHW.dtype
        is_small = map_NCHW.ndim == 4 and map_NCHW.shape[2:].numel() <= LARGEST_MAP
        return dtype == torch.bfloat16 and is_small and min(self.weight.shape[:2]) >= FEWEST_CHANNELS


class _AsProducts(torch.autograd.Function):
    """Convolution with padding 1; the neighbourhoods are recomputed in the backward pass, not saved."""

    @staticmethod
    def forward(ctx: Any, map_NCHW: Tensor, weight_OCKK: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(map_NCHW, weight_OCKK)
        return _convolve(map_NCHW, weight_OCKK, bias_O)

    @staticmethod
    def backward(ctx: Any, grad_NOHW: Tensor) -> tuple[Tensor | None, ...]:
        map_NCHW, weight_OCKK = ctx.saved_tensors
        of_map, of_weight, of_bias = ctx.needs_input_grad
        grad_PO = grad_NOHW.permute(0, 2, 3, 1).flatten(0, 2)
        grad_NCHW = grad_OCKK = grad_O = None
        if of_map:
            grad_NCHW = _convolve(grad_NOHW, weight_OCKK.flip(2, 3).transpose(0, 1), None)
        if of_weight:
            grad_OX = grad_PO.T @ _neighbourhoods(map_NCHW)
            grad_OCKK = grad_OX.unflatten(1, (3, 3, map_NCHW.shape[1])).permute(0, 3, 1, 2)
        if of_bias:
            grad_O = grad_PO.sum(0, dtype=torch.promote_types(grad_PO.dtype, torch.float32))
        return grad_NCHW, grad_OCKK, grad_O


def _convolve(map_NCHW: Tensor, weight_OCKK: Tensor, bias_O: Tensor | None) -> Tensor:
    patch_PX, matrix_XO = _neighbourhoods(map_NCHW), weight_OCKK.permute(2, 3, 1, 0).flatten(0, 2)
    out_PO = patch_PX @ matrix_XO if bias_O is None else torch.addmm(bias_O.to(patch_PX.dtype), patch_PX, matrix_XO)
    images, _, height, width = map_NCHW.shape
    return out_PO.unflatten(0, (images, height, width)).permute(0, 3, 1, 2)


def _neighbourhoods(map_NCHW: Tensor) -> Tensor:
    """The 3×3 neighbourhood of each position, with zero padding, shape (P, X)."""
    images, channels, height, width = map_NCHW.shape
    padded_NHWC = map_NCHW.new_zeros(images, height + 2, width + 2, channels)
    padded_NHWC[:, 1:-1, 1:-1] = map_NCHW.permute(0, 2, 3, 1)
    of_image, of_row, of_column, _ = padded_NHWC.stride()
    strides = (of_image, of_row, of_column, of_row, 1)
    return padded_NHWC.as_strided((images, height, width, 3, 3 * channels), strides).flatten(3).flatten(0, 2)
