"""Whole nets: from the image as stored to what a criterion or a user reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.channels import ChannelGroup, Span, joined, prefixed, renamed
from fecnet.modeling.neck.base import Neck
from fecnet.structures import Outputs


class ExpressionNet(nn.Module):
    """Normalise → backbone → neck → head.

    Args:
        backbone: image to map.
        neck: map to map.
        head: map to outputs.
        mean: subtracted from the image in 0..1, one value per channel.
        std: divides the image after that, one value per channel.
        freeze_backbone: no gradient in the backbone, and its batch norms keep their statistics under ``train()`` too.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        neck: Neck,
        head: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        freeze_backbone: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head
        # buffers, so that weights never part from the preprocessing they were trained with
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode everywhere but in a frozen backbone."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, image_NCHW: Tensor) -> Outputs:
        """Outputs of the head for a batch of images.

        Args:
            image_NCHW: uint8, or float in 0..1, shape (N, C, H, W).
        """
        image = self._normalise(image_NCHW)
        if self.freeze_backbone:
            with torch.no_grad():
                map_NCHW = self.backbone(image)
        else:
            map_NCHW = self.backbone(image)
        map_NCHW = self.neck(map_NCHW)
        # Embeddings start close together: in bf16 what sets them apart is rounded away, and a net may never leave.
        with torch.autocast(map_NCHW.device.type, enabled=False):
            return self.head(map_NCHW.float())

    def channel_groups(self) -> list[ChannelGroup]:
        """The channels that can be removed, the backbone's and the neck's.

        None where the backbone has none, or where neck or head do not say in ``readers`` what takes in their map.
        """
        backbone = [renamed(group, "backbone.") for group in self.backbone.channel_groups()]
        readers: tuple[Span, ...] | None = getattr(self.head, "readers", None)
        if not backbone or readers is None or self.neck.readers is None:
            return []
        neck = [renamed(group, "neck.") for group in self.neck.channel_groups()]
        of_head = prefixed(readers, "head.")
        of_neck = prefixed(self.neck.readers, "neck.") or of_head
        return joined(backbone, of_neck) + joined(neck, of_head)

    def _normalise(self, image_NCHW: Tensor) -> Tensor:
        image = to_unit_range(image_NCHW, self.mean.dtype)
        mean, std = (_along_rows(value_1C11, image) for value_1C11 in (self.mean, self.std))
        return (image - mean).div_(std)


def _along_rows(value_1C11: Tensor, image_NCHW: Tensor) -> Tensor:
    """Repeated along a row of the image, in its memory format, shape (1, C, 1, W).

    Interleaved channels are too short a vector for CPU kernels: three of them took as long as a small convolution.
    """
    last = image_NCHW.is_contiguous(memory_format=torch.channels_last)
    row_1C1W = value_1C11.expand(-1, -1, -1, image_NCHW.shape[3])
    return row_1C1W.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def to_unit_range(image_NCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """An image, uint8 or float in 0..1, as ``dtype`` in 0..1."""
    image = image_NCHW.to(dtype)
    return image / 255 if image_NCHW.dtype == torch.uint8 else image
