"""Batches from packed faces, prefetched one iteration ahead. No decoding, no worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fecnet.data.faces import Faces
from fecnet.data.label_overlay import LabelOverlay
from fecnet.data.mixing import Mixer, Pairs
from fecnet.data.packed import TripletTable
from fecnet.data.rater_answers import RaterAnswers
from fecnet.data.samplers import ClassSampler, RoundSampler, TripletSampler, share
from fecnet.structures import Answers, Batch, Mix, Triplets
from fecnet.utils.errors import ConfigError
from fecnet.utils.phase import phase


def vote_weights(table: TripletTable) -> np.ndarray:
    """Loss weights by agreement: the share of raters who chose the odd face (1 without votes), divided by its mean.

    Returns:
        float32, shape (T,).

    Raises:
        ConfigError: all weights would be 0.
    """
    total_T = table.votes_T3.sum(1, dtype=np.int64)
    agree_T = np.take_along_axis(table.votes_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0]
    weight_T = np.where(total_T > 0, agree_T / np.maximum(total_T, 1), 1.0)
    if not weight_T.any():
        raise ConfigError("DATA.WEIGHT_BY_AGREEMENT: no annotator chose any triplet's odd face; allowed here: false")
    return (weight_T / weight_T.mean()).astype(np.float32)


class _Pending(NamedTuple):
    """A micro-batch whose faces are being fetched."""

    items: np.ndarray
    row_U: Tensor
    image_N: Tensor | None
    pairs: Pairs | None
    take_images: Callable[[], Tensor]


def _micro_shares(total: int, world_size: int, rank: int, num_micro: int) -> list[slice]:
    """The items of the global batch in each micro-batch of this rank."""
    own = share(total, world_size, rank)
    parts = (share(own.stop - own.start, num_micro, k) for k in range(num_micro))
    return [slice(own.start + part.start, own.start + part.stop) for part in parts]


class FaceLoader:
    """This rank's micro-batches of every global batch; subclasses define the faces of an item.

    Args:
        faces: all faces of the data set.
        sampler: chooses the items of each global batch.
        items: their name in error messages.
        faces_per_item: number of faces per item.
        labels: targets of the faces, or None.
        mixer: mixes the labelled faces with partners, or None.
        accumulate: micro-batches per iteration.
        rank: this process.
        world_size: number of processes; each takes a contiguous share of the global batch.
        pin: put the batch's other tensors into pinned memory, for asynchronous copies to a GPU.

    Attributes:
        smallest_batch: samples in the smallest micro-batch of any rank, without labelled faces added to triplets.

    Raises:
        ConfigError: more processes than items in a batch.
    """

    def __init__(
        self,
        faces: Faces,
        sampler: RoundSampler,
        *,
        items: str,
        faces_per_item: int,
        labels: LabelOverlay | None = None,
        mixer: Mixer | None = None,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        pin: bool = False,
    ) -> None:
        if world_size > sampler.batch_size:
            raise ConfigError(f"SOLVER.BATCH_SIZE: {sampler.batch_size} {items} cannot be shared by {world_size} ranks")
        self.sampler = sampler
        smallest_share = sampler.batch_size // world_size
        # the same number on all ranks, since a criterion may use collectives in each micro-batch
        num_micro = min(accumulate, smallest_share)
        self.smallest_batch = smallest_share // num_micro * faces_per_item
        self._faces = faces
        self._labels = labels
        self._mixer = mixer
        self._shares = partial(_micro_shares, world_size=world_size, rank=rank, num_micro=num_micro)
        self._micro = self._shares(sampler.batch_size)
        self._labelled_parts = self._micro  # which of the global batch's labelled faces are in each micro-batch
        self._position_N = [
            torch.arange(faces_per_item * part.start, faces_per_item * part.stop) for part in self._micro
        ]
        self._pin = pin

    def __call__(self, first: int, last: int) -> Iterator[tuple[int, list[Batch]]]:
        """Iterations ``first`` to ``last`` (both included) with this rank's micro-batches."""
        with ThreadPoolExecutor(1, "gather", initializer=torch.set_num_threads, initargs=(1,)) as ahead:
            following = self._begin(first, ahead)
            for iteration in range(first, last + 1):
                with phase("data"):  # name in the profile: waiting for faces and sampling the next ones
                    batches = [self._finish(number, pending) for number, pending in enumerate(following)]
                    if iteration < last:
                        following = self._begin(iteration + 1, ahead)
                yield iteration, batches

    def gather(self, iteration: int) -> list[Batch]:
        """This rank's micro-batches of one iteration."""
        return next(self(iteration, iteration))[1]

    def _faces_of(self, iteration: int, number: int, items: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Unique faces of the ``number``-th micro-batch, rows of ``faces.npy``, and the index of each sample into them.

        The index is None where no samples share a face.
        """
        raise NotImplementedError

    def _triplets_of(self, number: int, items: np.ndarray) -> Triplets | None:
        """The triplets of the ``number``-th micro-batch, or None where the items are not triplets."""
        return None

    def _begin(self, iteration: int, ahead: Executor) -> list[_Pending]:
        """Sample the micro-batches of an iteration and start fetching their faces."""
        items_of_batch = self.sampler.rows(iteration)
        pending = []
        for number, part in enumerate(self._micro):
            items = items_of_batch[part]
            row_U, image_N = self._faces_of(iteration, number, items)
            pairs = None if self._mixer is None else self._pairs(self._mixer, iteration, number)
            fetched = row_U if pairs is None else torch.cat((row_U, pairs.row_L))
            pending.append(_Pending(items, row_U, image_N, pairs, self._faces.begin(fetched, ahead)))
        return pending

    def _pairs(self, mixer: Mixer, iteration: int, number: int) -> Pairs:
        """The partners of the labelled faces of the ``number``-th micro-batch, its last samples."""
        part, position_N = self._labelled_parts[number], self._position_N[number]
        return mixer.pairs(iteration, part, position_N[len(position_N) - (part.stop - part.start) :])

    def _finish(self, number: int, pending: _Pending) -> Batch:
        """The batch with its current targets: labels may change between iterations."""
        batch = Batch(
            image_UCHW=pending.take_images(),
            row_U=pending.row_U,
            position_N=self._position_N[number],
            triplets=self._triplets_of(number, pending.items),
            image_N=pending.image_N,
        )
        if self._labels is not None:
            batch = replace(batch, targets=self._labels.targets(batch.row_N))
            if pending.pairs is not None:
                batch = replace(batch, mix=_mix(pending.pairs, batch.row_N, self._labels))
        return batch.pinned() if self._pin else batch


def _mix(pairs: Pairs, row_N: Tensor, labels: LabelOverlay) -> Mix:
    """The pairs with the current targets of the partners."""
    unmixed = len(row_N) - len(pairs.row_L)
    return Mix(
        pairs.key_L,
        pairs.blend_L2,
        pairs.box_L4,
        torch.cat((torch.ones(unmixed), pairs.share_L)),
        labels.targets(torch.cat((row_N[:unmixed], pairs.row_L))),
    )


class TripletLoader(FaceLoader):
    """Batches of triplets: one forward pass per unique face, shared by its triplets and by both tasks.

    Args:
        faces: all faces of the data set.
        table: the triplets trained on.
        sampler: chooses the triplets of each global batch.
        weight_T: weight of each triplet, float32, or None for ones.
        answers: answers of single raters to all triplets of the table, or None where no criterion reads them.
        labelled: sampler of labelled faces (rows of ``faces.npy``), which follow the faces of the triplets in each
            global batch; or None.
        shared: further arguments of ``FaceLoader``.
    """

    def __init__(
        self,
        faces: Faces,
        table: TripletTable,
        sampler: TripletSampler,
        *,
        weight_T: np.ndarray | None = None,
        answers: RaterAnswers | None = None,
        labelled: RoundSampler | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(faces, sampler, items="triplets", faces_per_item=3, **shared)
        self._table = table
        self._weight_T = weight_T
        self._answers = answers
        sizes = [part.stop - part.start for part in self._micro]
        self._fixed = [(torch.arange(3 * size).view(-1, 3), torch.ones(size)) for size in sizes]
        self._labelled = labelled
        if labelled is not None:
            self._labelled_parts = self._shares(labelled.batch_size)
            behind = 3 * sampler.batch_size
            self._position_N = [
                torch.cat((position_N, torch.arange(behind + part.start, behind + part.stop)))
                for position_N, part in zip(self._position_N, self._labelled_parts, strict=True)
            ]

    def _faces_of(self, iteration: int, number: int, items: np.ndarray) -> tuple[Tensor, Tensor]:
        row_N = self._table.faces_T3[items].reshape(-1)
        joining_L = np.zeros(0, np.int64)
        if self._labelled is not None:
            joining_L = self._labelled.rows(iteration)[self._labelled_parts[number]]
        if self._mixer is None:
            row_N = np.concatenate((row_N, joining_L))
        row_U, image_N = np.unique(row_N, return_inverse=True)
        if self._mixer is not None:  # images of their own, so that those of the triplets are not mixed
            image_N = np.concatenate((image_N, np.arange(len(joining_L)) + len(row_U)))
            row_U = np.concatenate((row_U, joining_L))
        return torch.from_numpy(row_U.astype(np.int64)), torch.from_numpy(image_N)

    def _triplets_of(self, number: int, items: np.ndarray) -> Triplets:
        face_B3, one_B = self._fixed[number]  # identical in every iteration
        return Triplets(
            face_B3=face_B3,
            odd_B=torch.from_numpy(self._table.odd_T[items].astype(np.int64)),
            type_B=torch.from_numpy(self._table.type_T[items].astype(np.int64)),
            weight_B=one_B if self._weight_T is None else torch.from_numpy(self._weight_T[items]),
            votes_B3=torch.from_numpy(self._table.votes_T3[items]),
            answers=None
            if self._answers is None
            else Answers(*map(torch.from_numpy, self._answers.of_triplets(items))),
        )


class LabelledLoader(FaceLoader):
    """Batches of labelled faces.

    Args:
        faces: all faces of the data set.
        rows_M: rows of ``faces.npy`` that are sampled from, int64.
        sampler: chooses the faces of each global batch.
        shared: further arguments of ``FaceLoader``.
    """

    def __init__(self, faces: Faces, rows_M: np.ndarray, sampler: ClassSampler, **shared: Any) -> None:
        super().__init__(faces, sampler, items="labelled faces", faces_per_item=1, **shared)
        self._rows_M = rows_M

    def _faces_of(self, iteration: int, number: int, items: np.ndarray) -> tuple[Tensor, None]:
        return torch.from_numpy(self._rows_M[items]), None
