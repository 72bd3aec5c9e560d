"""Shared data structures: one batch type for every task, and the constants of the packed data set.

Shape suffixes used everywhere: N samples, U unique images, B triplets, C channels, H height, W width,
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

Outputs = dict[str, Tensor]  # a model's outputs: "embedding" (N, D), "feature" (N, F), "logits", … depend on its head


def of_label_set(name: str, label_set: str) -> str:
    """The name of an output, target or metric that belongs to one label set, such as ``logits_fer``.

    Args:
        name: its name for the label set ``DATA.LABELS``, such as ``logits``.
        label_set: one of ``DATA.EXTRA_LABELS``; empty for ``DATA.LABELS``, which leaves the name unchanged.
    """
    return f"{name}_{label_set}" if label_set else name


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


def odd_faces(opposite_B3: Tensor) -> Tensor:
    """The face outside the closest pair, 0..2, or -1 where two pairs are equally close or a distance is NaN.

    Args:
        opposite_B3: see ``opposite_distances``.

    Returns:
        int64, shape (B,).
    """
    closest_B3 = opposite_B3.sort(1).values
    unique_B = (closest_B3[:, 0] < closest_B3[:, 1]) & ~closest_B3.isnan().any(1)
    return opposite_B3.argmin(1).where(unique_B, -1)


@dataclass(frozen=True)
class Answers:
    """Answers of single raters to the triplets of a batch; A answers.

    Attributes:
        triplet_A: index into the triplets, int64, shape (A,).
        rater_A: index of the rater among the raters of the split, int64, shape (A,).
        choice_A: the face 0..2 that the rater called the odd one, int64, shape (A,).
    """

    triplet_A: Tensor
    rater_A: Tensor
    choice_A: Tensor

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Answers:
        """Apply ``function`` to every tensor."""
        return Answers(**{name: function(value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Triplets:
    """B triplets over the N samples of a batch.

    Attributes:
        face_B3: indices into the samples of the batch, int64, shape (B, 3).
        odd_B: index 0..2 of the odd face, int64, shape (B,).
        type_B: ``TripletType``, int64, shape (B,).
        weight_B: loss weight, float32, shape (B,).
        votes_B3: raters who called face k the odd one, zeros where only the odd face is known, uint8, shape (B, 3).
        answers: the answers of single raters, where a criterion reads them; else None.
    """

    face_B3: Tensor
    odd_B: Tensor
    type_B: Tensor
    weight_B: Tensor
    votes_B3: Tensor
    answers: Answers | None = None

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Triplets:
        """Apply ``function`` to every tensor."""
        return Triplets(
            face_B3=function(self.face_B3),
            odd_B=function(self.odd_B),
            type_B=function(self.type_B),
            weight_B=function(self.weight_B),
            votes_B3=function(self.votes_B3),
            answers=None if self.answers is None else self.answers.map_tensors(function),
        )


@dataclass(frozen=True)
class Mix:
    """How labelled samples are mixed with partners (mixup, CutMix); see ``Batch.mix``.

    Attributes:
        key_L: random key of each partner's augmentation, int64, shape (L,).
        blend_L2: weight of the sample's own image inside and outside the box, float32, shape (L, 2).
        box_L4: first and last column, first and last row of the box, pixels, the last ones exclusive, int64, shape
            (L, 4).
        share_N: weight of each sample's own targets, float32, shape (N,); 1 where the sample is not mixed.
        targets: the partners' targets by name, shaped as ``Batch.targets``; a sample's own where it is not mixed.
    """

    key_L: Tensor
    blend_L2: Tensor
    box_L4: Tensor
    share_N: Tensor
    targets: Mapping[str, Tensor]

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Mix:
        """Apply ``function`` to every tensor."""
        return Mix(
            key_L=function(self.key_L),
            blend_L2=function(self.blend_L2),
            box_L4=function(self.box_L4),
            share_N=function(self.share_N),
            targets={name: function(value) for name, value in self.targets.items()},
        )


@dataclass(frozen=True)
class Batch:
    """One rank's share of one global batch, the same type for every task.

    A face in several triplets is several samples but one image, which passes through the net once.

    Attributes:
        image_UCHW: uint8 as stored, or float in 0..1 after augmentation, shape (U, C, H, W).
        row_U: row of each image in ``faces.npy``, int64, shape (U,).
        position_N: index of each sample in the global batch, int64, shape (N,).
        triplets: the triplets over these samples, or None.
        targets: label tensors of the samples by name, first dimension N; -1 or NaN where a label is missing.
        image_N: index of each sample's image, int64, shape (N,); None where sample n is image n.
        mix: how the last L samples are mixed with partners, None where none are. These samples share their images with
            no others. Until the augmentation mixes them, the partners are L further images at the end of
            ``image_UCHW``.
    """

    image_UCHW: Tensor
    row_U: Tensor
    position_N: Tensor
    triplets: Triplets | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    image_N: Tensor | None = None
    mix: Mix | None = None

    @property
    def augment_key_U(self) -> Tensor:
        """Random key of each image's augmentation: its face where samples share images, else its position in the batch.

        Ranks then augment a shared face identically, and a labelled face sampled twice is augmented differently.
        """
        key_U = self.position_N if self.image_N is None else self.row_U
        return key_U if self.mix is None else torch.cat((key_U, self.mix.key_L))

    @property
    def row_N(self) -> Tensor:
        """Row of each sample in ``faces.npy``."""
        return self.of_samples(self.row_U)

    def of_samples(self, value_U: Tensor) -> Tensor:
        """Expand values per image to values per sample: shape (U, …) to (N, …)."""
        return (
            value_U if self.image_N is None else value_U[self.image_N]
        )  # its backward pass accumulates in a fixed order

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply ``function`` to every tensor."""
        return Batch(
            image_UCHW=function(self.image_UCHW),
            row_U=function(self.row_U),
            position_N=function(self.position_N),
            triplets=None if self.triplets is None else self.triplets.map_tensors(function),
            targets={name: function(value) for name, value in self.targets.items()},
            image_N=None if self.image_N is None else function(self.image_N),
            mix=None if self.mix is None else self.mix.map_tensors(function),
        )

    def to(self, device: torch.device) -> Batch:
        """Copy to ``device``; asynchronous from pinned memory."""
        return self.map_tensors(lambda value: value.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """Copy CPU tensors to pinned memory, so that ``to`` a GPU is asynchronous."""
        return self.map_tensors(lambda value: value.pin_memory() if value.device.type == "cpu" else value)

    def with_images(self, image_UCHW: Tensor) -> Batch:
        """The same batch with other images, such as augmented ones."""
        return replace(self, image_UCHW=image_UCHW)


class Relabels(NamedTuple):
    """Images relabelled by a criterion in an epoch, identical on all ranks; M images, on the CPU.

    Attributes:
        row_M: rows of ``faces.npy``, increasing and unique, int64.
        label_M: their new labels, int64.
    """

    row_M: Tensor
    label_M: Tensor
