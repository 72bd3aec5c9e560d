"""The complete model: normalisation, backbone, neck and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.channels import ChannelGroup, Span, connect, prefix_spans, with_prefix
from fecnet.modeling.neck.base import Neck
from fecnet.structures import Outputs


class ExpressionNet(nn.Module):
    """Normalise → backbone → neck → head.

    Args:
        backbone: image to feature map.
        neck: feature map to feature map.
        head: feature map to outputs.
        mean: subtracted from the image in 0..1, one value per channel.
        std: divides the image after that, one value per channel.
        freeze_backbone: no gradients in the backbone, and fixed batch-norm statistics, also in training mode.
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
        # buffers, so that the normalisation is saved with the weights trained with it
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, except in a frozen backbone."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, image_NCHW: Tensor) -> Outputs:
        """Outputs of the head for a batch of images.

        Args:
            image_NCHW: uint8, or float in 0..1, shape (N, C, H, W).
        """
        map_NCHW = self.neck(self.extract(self.normalise(image_NCHW)))
        # In float32: initial embeddings are close to each other, and bf16 would round their differences away.
        with torch.autocast(map_NCHW.device.type, enabled=False):
            return self.head(map_NCHW.float())

    def extract(self, image_NCHW: Tensor) -> Tensor:
        """The neck's input for normalised images, shape (N, C, H, W): the backbone's feature map."""
        if self.freeze_backbone:
            with torch.no_grad():
                return self.backbone(image_NCHW)
        return self.backbone(image_NCHW)

    def channel_groups(self) -> list[ChannelGroup]:
        """The prunable channels of backbone and neck.

        Empty where the backbone has none, or where neck or head do not define ``readers``.
        """
        backbone = [with_prefix(group, "backbone.") for group in self.backbone.channel_groups()]
        readers: tuple[Span, ...] | None = getattr(self.head, "readers", None)
        if not backbone or readers is None or self.neck.readers is None:
            return []
        neck = [with_prefix(group, "neck.") for group in self.neck.channel_groups()]
        of_head = prefix_spans(readers, "head.")
        of_neck = prefix_spans(self.neck.readers, "neck.") or of_head
        return connect(backbone, of_neck) + connect(neck, of_head)

    def normalise(self, image_NCHW: Tensor) -> Tensor:
        """The backbone's input for images, which are uint8 or float in 0..1, shape (N, C, H, W)."""
        image = to_unit_range(image_NCHW, self.mean.dtype)
        mean, std = (_along_rows(value_1C11, image) for value_1C11 in (self.mean, self.std))
        return (image - mean).div_(std)


def _along_rows(value_1C11: Tensor, image_NCHW: Tensor) -> Tensor:
    """Repeat a per-channel value along a row of the image, in its memory format, shape (1, C, 1, W).

    In channels-last memory, three channels are too short for vectorised CPU kernels: broadcasting them took as long as
    a small convolution.
    """
    last = image_NCHW.is_contiguous(memory_format=torch.channels_last)
    row_1C1W = value_1C11.expand(-1, -1, -1, image_NCHW.shape[3])
    return row_1C1W.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def to_unit_range(image_NCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert an image, uint8 or float in 0..1, to ``dtype`` in 0..1."""
    image = image_NCHW.to(dtype)
    return image / 255 if image_NCHW.dtype == torch.uint8 else image
