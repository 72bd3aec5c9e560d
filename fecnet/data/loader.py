"""Batches from the memory-mapped faces, gathered one iteration ahead in a thread. No decoding, no worker processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fecnet.data.packed import TripletTable
from fecnet.data.samplers import TripletSampler, share
from fecnet.structures import Batch, Triplets


def shared_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array, here a read-only memory map that nobody writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def vote_weights(table: TripletTable) -> np.ndarray:
    """Share of the raters that agree with the odd one, divided by its mean; 1 where there were no raters.

    Returns:
        float32, shape (T,).

    Raises:
        ValueError: all weights would be 0.
    """
    total_T = table.votes_T3.sum(1, dtype=np.int64)
    agree_T = np.take_along_axis(table.votes_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0]
    weight_T = np.where(total_T > 0, agree_T / np.maximum(total_T, 1), 1.0)
    if not weight_T.any():
        raise ValueError("DATA.VOTE_WEIGHTS: no rater agrees with any triplet's odd face; allowed here: false")
    return (weight_T / weight_T.mean()).astype(np.float32)


class _Fixed(NamedTuple):
    """What a micro-batch of every iteration has in common."""

    position_N: Tensor
    face_B3: Tensor
    one_B: Tensor


class _Begun(NamedTuple):
    """A micro-batch whose faces are being copied."""

    rows: np.ndarray
    row_N: Tensor
    image_NCHW: Future[Tensor]


class TripletLoader:
    """This rank's micro-batches of every global batch.

    Args:
        faces_NHWC: all faces, uint8, a memory map.
        table: the triplets trained on.
        sampler: which triplets make a global batch.
        weight_T: weight of each triplet, float32, or None for ones.
        accumulate: micro-batches per iteration.
        rank: this process.
        world_size: number of processes; each takes a contiguous share of the global batch.
        pin: gather into pinned memory, for asynchronous copies to a GPU.

    Raises:
        ValueError: more processes than triplets in a batch.
    """

    def __init__(
        self,
        faces_NHWC: np.ndarray,
        table: TripletTable,
        sampler: TripletSampler,
        *,
        weight_T: np.ndarray | None = None,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        pin: bool = False,
    ) -> None:
        if world_size > sampler.batch_size:
            raise ValueError(f"SOLVER.BATCH_SIZE: {sampler.batch_size} triplets cannot be shared by {world_size} ranks")
        self.sampler = sampler
        self._faces_NHWC = shared_tensor(faces_NHWC)
        self._table = table
        self._weight_T = weight_T
        self._share = share(sampler.batch_size, world_size, rank)
        size = self._share.stop - self._share.start
        self._micro = [share(size, min(accumulate, size), k) for k in range(min(accumulate, size))]
        self._fixed = [self._same_in_every_iteration(part) for part in self._micro]
        self._pin = pin

    def __call__(self, first: int, last: int) -> Iterator[tuple[int, list[Batch]]]:
        """Iterations ``first`` to ``last`` (both included) with this rank's micro-batches."""
        with ThreadPoolExecutor(1, "gather", initializer=torch.set_num_threads, initargs=(1,)) as ahead:
            following = self._begin(first, ahead)
            for iteration in range(first, last + 1):
                batches = [self._finish(*begun) for begun in zip(self._fixed, following, strict=True)]
                if iteration < last:
                    following = self._begin(iteration + 1, ahead)
                yield iteration, batches

    def gather(self, iteration: int) -> list[Batch]:
        """This rank's micro-batches of one iteration."""
        return next(self(iteration, iteration))[1]

    def _same_in_every_iteration(self, part: slice) -> _Fixed:
        count = part.stop - part.start
        first = (self._share.start + part.start) * 3
        return _Fixed(torch.arange(first, first + 3 * count), torch.arange(3 * count).view(-1, 3), torch.ones(count))

    def _begin(self, iteration: int, ahead: Executor) -> list[_Begun]:
        """Choose the micro-batches of an iteration here, and copy their faces in the other thread.

        That thread does nothing in Python: the two would wait for each other's lock.
        """
        rows_of_rank = self.sampler.rows(iteration)[self._share]
        begun = []
        for rows in (rows_of_rank[part] for part in self._micro):
            row_N = torch.from_numpy(self._table.faces_T3[rows].reshape(-1).astype(np.int64))
            begun.append(_Begun(rows, row_N, ahead.submit(self._fetch, row_N)))
        return begun

    def _fetch(self, row_N: Tensor) -> Tensor:
        """Faces by row, uint8, shape (N, C, H, W) in channels-last memory."""
        image_NCHW = self._faces_NHWC.index_select(0, row_N).permute(0, 3, 1, 2)
        return image_NCHW.pin_memory() if self._pin else image_NCHW

    def _finish(self, fixed: _Fixed, begun: _Begun) -> Batch:
        weight_B = fixed.one_B if self._weight_T is None else torch.from_numpy(self._weight_T[begun.rows])
        return Batch(
            image_NCHW=begun.image_NCHW.result(),
            row_N=begun.row_N,
            position_N=fixed.position_N,
            triplets=Triplets(
                face_B3=fixed.face_B3,
                odd_B=torch.from_numpy(self._table.odd_T[begun.rows].astype(np.int64)),
                type_B=torch.from_numpy(self._table.type_T[begun.rows].astype(np.int64)),
                weight_B=weight_B,
            ),
        )
