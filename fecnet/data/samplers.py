"""Which items make the global batch of an iteration: pure functions of (seed, iteration), the same on every rank."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fecnet.data.permutation import permuted

_BLOCK = 32  # iterations whose triplets are found together: numpy's cost per call, shared


class TripletSampler:
    """Batches of triplets, every triplet once per round, optionally a third of each batch from each triplet type.

    Each type (or all types together) is an endless stream of rounds; a round is a fresh permutation. Slot ``s`` of
    the training, counted over all batches, takes the next triplet of stream ``s % num_streams``.

    Args:
        type_T: ``TripletType`` of each triplet, shape (T,).
        batch_size: triplets in a global batch.
        seed: chooses the order.
        balance: one stream per type that occurs, instead of one stream.

    Raises:
        ValueError: the batch is larger than the data, or its share of a type than there are of that type.
    """

    def __init__(self, type_T: np.ndarray, *, batch_size: int, seed: int, balance: bool) -> None:
        if not 1 <= batch_size <= len(type_T):
            raise ValueError(f"SOLVER.BATCH_SIZE: {batch_size} for {len(type_T)} triplets; allowed: 1..{len(type_T)}")
        self.batch_size = batch_size
        self.iterations_per_epoch = -(-len(type_T) // batch_size)
        self._seed = seed
        streams = [np.flatnonzero(type_T == kind) for kind in np.unique(type_T)] if balance else []
        self._streams = streams or [np.arange(len(type_T))]
        self._block = lru_cache(maxsize=2)(self._rows_of_block)
        fewest, share_of_type = min(map(len, self._streams)), -(-batch_size // len(self._streams))
        if share_of_type > fewest:
            raise ValueError(
                f"SOLVER.BATCH_SIZE: {batch_size} takes {share_of_type} triplets of each type, of one there are only "
                f"{fewest}; allowed here: 1..{fewest * len(self._streams)}, or DATA.BALANCE_TYPES false"
            )

    def rows(self, iteration: int) -> np.ndarray:
        """Triplets of the global batch of ``iteration`` (counted from 1), int64, shape (batch_size,)."""
        block, place = divmod(iteration - 1, _BLOCK)
        return self._block(block)[place]

    def _rows_of_block(self, block: int) -> np.ndarray:
        """Triplets of ``_BLOCK`` successive iterations, shape (_BLOCK, batch_size)."""
        slots = _BLOCK * self.batch_size
        slot = np.arange(block * slots, (block + 1) * slots)
        chosen = np.empty(slots, np.int64)
        for number, members in enumerate(self._streams):
            mine = slot % len(self._streams) == number
            chosen[mine] = members[self._places(slot[mine] // len(self._streams), len(members), number)]
        return chosen.reshape(_BLOCK, self.batch_size)

    def _places(self, turn: np.ndarray, size: int, stream: int) -> np.ndarray:
        """Places in a stream of ``size`` members for its ``turn``-th draws; a batch may reach into the next round."""
        places = np.empty_like(turn)
        for round_ in np.unique(turn // size):
            mine = turn // size == round_
            key = (self._seed * 1_000_003 + stream) * 1_000_003 + int(round_)
            places[mine] = permuted(turn[mine] % size, size, key)
        return places


def share(total: int, parts: int, number: int) -> slice:
    """The ``number``-th of ``parts`` contiguous shares of ``total`` items; sizes differ by one at most."""
    return slice(total * number // parts, total * (number + 1) // parts)
