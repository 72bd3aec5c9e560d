"""Batches from packed faces, begun one iteration ahead. No decoding, no worker processes."""

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
from fecnet.data.packed import TripletTable
from fecnet.data.samplers import ClassSampler, RoundSampler, TripletSampler, share
from fecnet.structures import Batch, Triplets
from fecnet.utils.errors import ConfigError
from fecnet.utils.phase import phase


def vote_weights(table: TripletTable) -> np.ndarray:
    """Share of the raters that agree with the odd one, divided by its mean; 1 where there were no raters.

    Returns:
        float32, shape (T,).

    Raises:
        ConfigError: all weights would be 0.
    """
    total_T = table.votes_T3.sum(1, dtype=np.int64)
    agree_T = np.take_along_axis(table.votes_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0]
    weight_T = np.where(total_T > 0, agree_T / np.maximum(total_T, 1), 1.0)
    if not weight_T.any():
        raise ConfigError("DATA.WEIGHT_BY_AGREEMENT: no rater agrees with any triplet's odd face; allowed here: false")
    return (weight_T / weight_T.mean()).astype(np.float32)


class _Begun(NamedTuple):
    """A micro-batch whose faces are being fetched."""

    items: np.ndarray
    row_U: Tensor
    image_N: Tensor | None
    take_images: Callable[[], Tensor]


def _micro_shares(total: int, world_size: int, rank: int, num_micro: int) -> list[slice]:
    """The items of a global batch that are in each micro-batch of this rank."""
    own = share(total, world_size, rank)
    parts = (share(own.stop - own.start, num_micro, k) for k in range(num_micro))
    return [slice(own.start + part.start, own.start + part.stop) for part in parts]


class FaceLoader:
    """This rank's micro-batches of every global batch; subclasses say which faces an item shows.

    Args:
        faces: all faces of the data set.
        sampler: which items make a global batch.
        items: what they are called.
        faces_per_item: faces that each item shows.
        labels: where the targets of the faces are looked up, or None for none.
        accumulate: micro-batches per iteration.
        rank: this process.
        world_size: number of processes; each takes a contiguous share of the global batch.
        pin: what goes with the faces into pinned memory, for copies to a GPU that wait for nothing.

    Attributes:
        smallest_batch: samples in the smallest micro-batch of any rank, without faces that join triplets.

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
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        pin: bool = False,
    ) -> None:
        if world_size > sampler.batch_size:
            raise ConfigError(f"SOLVER.BATCH_SIZE: {sampler.batch_size} {items} cannot be shared by {world_size} ranks")
        self.sampler = sampler
        smallest_share = sampler.batch_size // world_size
        # as many on all ranks: in each of them a criterion may ask the others
        num_micro = min(accumulate, smallest_share)
        self.smallest_batch = smallest_share // num_micro * faces_per_item
        self._faces = faces
        self._labels = labels
        self._shares = partial(_micro_shares, world_size=world_size, rank=rank, num_micro=num_micro)
        self._micro = self._shares(sampler.batch_size)
        self._position_N = [
            torch.arange(faces_per_item * part.start, faces_per_item * part.stop) for part in self._micro
        ]
        self._pin = pin

    def __call__(self, first: int, last: int) -> Iterator[tuple[int, list[Batch]]]:
        """Iterations ``first`` to ``last`` (both included) with this rank's micro-batches."""
        with ThreadPoolExecutor(1, "gather", initializer=torch.set_num_threads, initargs=(1,)) as ahead:
            following = self._begin(first, ahead)
            for iteration in range(first, last + 1):
                with phase("data"):  # as a profile calls it: waiting for faces, choosing the next ones
                    batches = [self._finish(number, begun) for number, begun in enumerate(following)]
                    if iteration < last:
                        following = self._begin(iteration + 1, ahead)
                yield iteration, batches

    def gather(self, iteration: int) -> list[Batch]:
        """This rank's micro-batches of one iteration."""
        return next(self(iteration, iteration))[1]

    def _faces_of(self, iteration: int, number: int, items: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """What the ``number``-th micro-batch shows: rows of ``faces.npy``, and which of those each sample is.

        None: each its own.
        """
        raise NotImplementedError

    def _triplets_of(self, number: int, items: np.ndarray) -> Triplets | None:
        """The triplets of the ``number``-th micro-batch, or None where the items are none."""
        return None

    def _begin(self, iteration: int, ahead: Executor) -> list[_Begun]:
        """Choose the micro-batches of an iteration, and begin to fetch their faces."""
        items_of_batch = self.sampler.rows(iteration)
        begun = []
        for number, part in enumerate(self._micro):
            items = items_of_batch[part]
            row_U, image_N = self._faces_of(iteration, number, items)
            begun.append(_Begun(items, row_U, image_N, self._faces.begin(row_U, ahead)))
        return begun

    def _finish(self, number: int, begun: _Begun) -> Batch:
        """The batch, with the targets that hold now: labels may change between one iteration and the next."""
        batch = Batch(
            image_UCHW=begun.take_images(),
            row_U=begun.row_U,
            position_N=self._position_N[number],
            triplets=self._triplets_of(number, begun.items),
            image_N=begun.image_N,
        )
        if self._labels is not None:
            batch = replace(batch, targets=self._labels.targets(batch.row_N))
        return batch.pinned() if self._pin else batch


class TripletLoader(FaceLoader):
    """Batches of triplets: a face goes through the net once, whatever triplets it stands in, and for both tasks.

    Args:
        faces: all faces of the data set.
        table: the triplets trained on.
        sampler: which triplets make a global batch.
        weight_T: weight of each triplet, float32, or None for ones.
        labelled: rows of ``faces.npy`` that join each global batch, behind the faces of its triplets; or None.
        shared: as ``FaceLoader`` takes them.
    """

    def __init__(
        self,
        faces: Faces,
        table: TripletTable,
        sampler: TripletSampler,
        *,
        weight_T: np.ndarray | None = None,
        labelled: RoundSampler | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(faces, sampler, items="triplets", faces_per_item=3, **shared)
        self._table = table
        self._weight_T = weight_T
        sizes = [part.stop - part.start for part in self._micro]
        self._fixed = [(torch.arange(3 * size).view(-1, 3), torch.ones(size)) for size in sizes]
        self._labelled = labelled
        if labelled is not None:
            self._joining = self._shares(labelled.batch_size)
            behind = 3 * sampler.batch_size
            self._position_N = [
                torch.cat((position_N, torch.arange(behind + part.start, behind + part.stop)))
                for position_N, part in zip(self._position_N, self._joining, strict=True)
            ]

    def _faces_of(self, iteration: int, number: int, items: np.ndarray) -> tuple[Tensor, Tensor]:
        row_N = self._table.faces_T3[items].reshape(-1)
        if self._labelled is not None:
            row_N = np.concatenate((row_N, self._labelled.rows(iteration)[self._joining[number]]))
        row_U, image_N = np.unique(row_N, return_inverse=True)
        return torch.from_numpy(row_U.astype(np.int64)), torch.from_numpy(image_N)

    def _triplets_of(self, number: int, items: np.ndarray) -> Triplets:
        face_B3, one_B = self._fixed[number]  # the same in every iteration
        return Triplets(
            face_B3=face_B3,
            odd_B=torch.from_numpy(self._table.odd_T[items].astype(np.int64)),
            type_B=torch.from_numpy(self._table.type_T[items].astype(np.int64)),
            weight_B=one_B if self._weight_T is None else torch.from_numpy(self._weight_T[items]),
        )


class LabelledLoader(FaceLoader):
    """Batches of labelled faces.

    Args:
        faces: all faces of the data set.
        rows_M: rows of ``faces.npy`` that are drawn, int64.
        sampler: which of them make a global batch.
        shared: as ``FaceLoader`` takes them.
    """

    def __init__(self, faces: Faces, rows_M: np.ndarray, sampler: ClassSampler, **shared: Any) -> None:
        super().__init__(faces, sampler, items="labelled faces", faces_per_item=1, **shared)
        self._rows_M = rows_M

    def _faces_of(self, iteration: int, number: int, items: np.ndarray) -> tuple[Tensor, None]:
        return torch.from_numpy(self._rows_M[items]), None
