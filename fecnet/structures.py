"""What flows through the house: one batch type for every task, and the constants of the packed data set.

Shape suffixes used everywhere: N images, B triplets, C channels, H height, W width, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

PACKED_FORMAT = 1  # version of the folder layout written by fecnet.prepare.writer and read by fecnet.data.packed

FACE_COLUMNS = ("key", "source", "box", "subject", "sequence", "landmarks", "duplicate_of", "flags")  # of faces.csv

Outputs = dict[str, Tensor]  # what a model returns: "embedding" (N, D), "feature" (N, F), later "logits", "importance"


class TripletType(IntEnum):
    """How many emotion labels the three faces of a triplet share (FEC, arXiv:1811.11283)."""

    ONE_CLASS = 0
    TWO_CLASS = 1
    THREE_CLASS = 2


def opposite_distances(emb_B3D: Tensor) -> Tensor:
    """Squared L2 between the two faces that are *not* face k.

    Args:
        emb_B3D: embeddings, shape (B, 3, D).

    Returns:
        Shape (B, 3): distances (1, 2), (0, 2) and (0, 1).
    """
    return (emb_B3D.roll(-1, 1) - emb_B3D.roll(-2, 1)).square().sum(-1)


@dataclass(frozen=True)
class Triplets:
    """B triplets over the N images of a batch.

    Attributes:
        face_B3: index into the batch's images, int64, shape (B, 3).
        odd_B: place 0..2 of the odd face, int64, shape (B,).
        type_B: ``TripletType``, int64, shape (B,).
        weight_B: weight in the loss, float32, shape (B,).
    """

    face_B3: Tensor
    odd_B: Tensor
    type_B: Tensor
    weight_B: Tensor

    def to(self, device: torch.device) -> Triplets:
        """Copy to ``device``; asynchronous from pinned memory."""
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Triplets(**moved)


@dataclass(frozen=True)
class Batch:
    """One rank's share of one global batch, the same type for every task.

    Attributes:
        image_NCHW: uint8 as stored, or float in 0..1 after augmentation.
        row_N: row of ``faces.npy``: the identity of a sample, int64.
        position_N: place in the global batch, int64; the source of per-sample randomness.
        triplets: the triplets over these images, or None.
        targets: label tensors by name; -1 or NaN means absent.
    """

    image_NCHW: Tensor
    row_N: Tensor
    position_N: Tensor
    triplets: Triplets | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """Copy to ``device``; asynchronous from pinned memory."""
        return Batch(
            image_NCHW=self.image_NCHW.to(device, non_blocking=True),
            row_N=self.row_N.to(device, non_blocking=True),
            position_N=self.position_N.to(device, non_blocking=True),
            triplets=None if self.triplets is None else self.triplets.to(device),
            targets={name: value.to(device, non_blocking=True) for name, value in self.targets.items()},
        )

    def with_images(self, image_NCHW: Tensor) -> Batch:
        """The same batch with other images, as augmentation makes it."""
        return replace(self, image_NCHW=image_NCHW)


class Relabels(NamedTuple):
    """What a criterion found mislabelled in an epoch, the same on all ranks; M images, on the CPU.

    Attributes:
        row_M: rows of ``faces.npy``, increasing, each once, int64.
        label_M: their new labels, int64.
    """

    row_M: Tensor
    label_M: Tensor
