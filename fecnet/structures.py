"""What flows through the house: one batch type for every task, and the constants of the packed data set.

Shape suffixes used everywhere: N samples, U different images of them, B triplets, C channels, H height, W width,
D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """B triplets over the N samples of a batch.

    Attributes:
        face_B3: index into the batch's samples, int64, shape (B, 3).
        odd_B: place 0..2 of the odd face, int64, shape (B,).
        type_B: ``TripletType``, int64, shape (B,).
        weight_B: weight in the loss, float32, shape (B,).
    """

    face_B3: Tensor
    odd_B: Tensor
    type_B: Tensor
    weight_B: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> Triplets:
        """The same with every tensor changed."""
        return Triplets(**{name: change(value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Batch:
    """One rank's share of one global batch, the same type for every task.

    A face that stands in several triplets is several samples, but one image, which goes through the net once.

    Attributes:
        image_UCHW: uint8 as stored, or float in 0..1 after augmentation.
        row_U: rows of ``faces.npy`` that the images were read from, int64.
        position_N: place of each sample in the global batch, int64.
        triplets: the triplets over these samples, or None.
        targets: label tensors of the samples by name; -1 or NaN means absent.
        image_N: which image each sample shows, int64; None: each its own, in order.
    """

    image_UCHW: Tensor
    row_U: Tensor
    position_N: Tensor
    triplets: Triplets | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    image_N: Tensor | None = None

    @property
    def augment_key_U(self) -> Tensor:
        """What each image's randomness is a function of: its face where samples share images, else its place.

        So ranks agree on a face that stands in triplets of both, and a labelled face that is drawn twice varies.
        """
        return self.position_N if self.image_N is None else self.row_U

    @property
    def row_N(self) -> Tensor:
        """Row of ``faces.npy`` of each sample: whose face it is."""
        return self.of_samples(self.row_U)

    def of_samples(self, value_U: Tensor) -> Tensor:
        """What belongs to each image, for each sample: shape (U, …) to (N, …)."""
        return value_U if self.image_N is None else value_U[self.image_N]  # its backward adds in a fixed order

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same with every tensor changed."""
        return Batch(
            image_UCHW=change(self.image_UCHW),
            row_U=change(self.row_U),
            position_N=change(self.position_N),
            triplets=None if self.triplets is None else self.triplets.each(change),
            targets={name: change(value) for name, value in self.targets.items()},
            image_N=None if self.image_N is None else change(self.image_N),
        )

    def to(self, device: torch.device) -> Batch:
        """Copy to ``device``; asynchronous from pinned memory."""
        return self.each(lambda value: value.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """What is on the CPU in pinned memory, so that ``to`` a GPU waits for nothing."""
        return self.each(lambda value: value.pin_memory() if value.device.type == "cpu" else value)

    def with_images(self, image_UCHW: Tensor) -> Batch:
        """The same batch with other images, as augmentation makes it."""
        return replace(self, image_UCHW=image_UCHW)


class Relabels(NamedTuple):
    """What a criterion found mislabelled in an epoch, the same on all ranks; M images, on the CPU.

    Attributes:
        row_M: rows of ``faces.npy``, increasing, each once, int64.
        label_M: their new labels, int64.
    """

    row_M: Tensor
    label_M: Tensor
