"""Convolution, batch norm, ReLU: the basic unit of the Inception nets."""

from __future__ import annotations

from torch import Tensor, nn

Size = int | tuple[int, int]  # one side, or (height, width)


class ConvBNReLU(nn.Module):
    """Convolution → batch norm → ReLU; without batch norm the convolution has a bias instead.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: pixels.
        stride: pixels.
        padding: pixels of zeros on each side.
        batch_norm: normalise between convolution and ReLU.
        eps: added to the variance by the batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: int = 1,
        padding: Size = 0,
        batch_norm: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=not batch_norm)
        self.bn: nn.Module = nn.BatchNorm2d(out_channels, eps=eps) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        return self.relu(self.bn(self.conv(map_NCHW)))
