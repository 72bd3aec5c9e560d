"""Batches from the memory-mapped faces, gathered one iteration ahead in a thread. No decoding, no worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from fecnet.data.packed import TripletTable
from fecnet.data.samplers import TripletSampler, share
from fecnet.structures import Batch, Triplets


def gather_faces(faces_NHWC: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    """Faces by row, uint8, shape (n, C, H, W) in channels-last memory."""
    return torch.from_numpy(np.asarray(faces_NHWC[rows])).permute(0, 3, 1, 2)


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
        self._faces_NHWC = faces_NHWC
        self._table = table
        self._weight_T = weight_T
        self._share = share(sampler.batch_size, world_size, rank)
        size = self._share.stop - self._share.start
        self._micro = [share(size, min(accumulate, size), k) for k in range(min(accumulate, size))]
        self._pin = pin

    def __call__(self, first: int, last: int) -> Iterator[tuple[int, list[Batch]]]:
        """Iterations ``first`` to ``last`` (both included) with this rank's micro-batches."""
        with ThreadPoolExecutor(1, "gather") as ahead:
            following = ahead.submit(self.gather, first)
            for iteration in range(first, last + 1):
                batches = following.result()
                if iteration < last:
                    following = ahead.submit(self.gather, iteration + 1)
                yield iteration, batches

    def gather(self, iteration: int) -> list[Batch]:
        """This rank's micro-batches of one iteration."""
        rows = self.sampler.rows(iteration)[self._share]
        slots = np.arange(self._share.start, self._share.stop)
        return [self._batch(rows[part], slots[part]) for part in self._micro]

    def _batch(self, rows: np.ndarray, slots: np.ndarray) -> Batch:
        faces = self._table.faces_T3[rows].reshape(-1).astype(np.int64)
        image_NCHW = gather_faces(self._faces_NHWC, faces)
        weight = np.ones(len(rows), np.float32) if self._weight_T is None else self._weight_T[rows]
        return Batch(
            image_NCHW=image_NCHW.pin_memory() if self._pin else image_NCHW,
            row_N=torch.from_numpy(faces),
            position_N=torch.from_numpy((slots[:, None] * 3 + np.arange(3)).reshape(-1)),
            triplets=Triplets(
                face_B3=torch.arange(len(faces)).view(-1, 3),
                odd_B=torch.from_numpy(self._table.odd_T[rows].astype(np.int64)),
                type_B=torch.from_numpy(self._table.type_T[rows].astype(np.int64)),
                weight_B=torch.from_numpy(weight),
            ),
        )
