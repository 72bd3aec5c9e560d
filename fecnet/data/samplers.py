"""Samplers: the items of each global batch as a pure function of (seed, iteration), identical on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fecnet.data.permutation import permuted
from fecnet.data.sharing import order_by_shared_face
from fecnet.utils.errors import ConfigError

_MIN_GROUPS = 4  # minimum number of groups per stream
_BLOCK = 32  # iterations sampled at a time, to amortise numpy's cost per call


class RoundSampler:
    """Batches from endless streams of rounds; a round is a fresh permutation of the stream's items.

    Slot ``s``, counted over all batches of the training, takes the next item of stream ``s % num_streams``.

    Args:
        streams: the items of each stream, int64, shape (items,) each.
        num_items: items per epoch.
        batch_size: items in a global batch.
        seed: determines the order.
        group_size: number of neighbouring items of a stream that stay adjacent in a round; the boundaries of the groups
            differ between rounds. Items that do not fill a whole group come last.
    """

    def __init__(
        self, streams: Sequence[np.ndarray], *, num_items: int, batch_size: int, seed: int, group_size: int = 1
    ) -> None:
        self.batch_size = batch_size
        self.iterations_per_epoch = -(-num_items // batch_size)
        self._seed = seed
        self._streams = streams
        self._group_size = group_size
        self._block = lru_cache(maxsize=2)(self._rows_of_block)

    def rows(self, iteration: int) -> np.ndarray:
        """Items of the global batch of ``iteration`` (counted from 1), int64, shape (batch_size,)."""
        block, place = divmod(iteration - 1, _BLOCK)
        return self._block(block)[place]

    def _rows_of_block(self, block: int) -> np.ndarray:
        """Items of ``_BLOCK`` successive iterations, shape (_BLOCK, batch_size)."""
        slots = _BLOCK * self.batch_size
        slot = np.arange(block * slots, (block + 1) * slots)
        chosen = np.empty(slots, np.int64)
        for number in range(len(self._streams)):
            mine = slot % len(self._streams) == number
            chosen[mine] = self._items(number, slot[mine] // len(self._streams))
        return chosen.reshape(_BLOCK, self.batch_size)

    def _items(self, stream: int, turn: np.ndarray) -> np.ndarray:
        """Items of a stream for its ``turn``-th samples."""
        members = self._streams[stream]
        return members[self._places(turn, len(members), stream)]

    def _places(self, turn: np.ndarray, size: int, stream: int) -> np.ndarray:
        """Indices into a stream of ``size`` items for its ``turn``-th samples; a batch may span two rounds."""
        places = np.empty_like(turn)
        for round_ in np.unique(turn // size):
            mine = turn // size == round_
            key = (self._seed * 1_000_003 + stream) * 1_000_003 + int(round_)
            places[mine] = self._shuffled(turn[mine] % size, size, key)
        return places

    def _shuffled(self, place: np.ndarray, size: int, key: int) -> np.ndarray:
        """The image of each index under a permutation of ``0..size-1`` that keeps groups adjacent."""
        if self._group_size == 1:
            return permuted(place, size, key)
        group, within = np.divmod(place, self._group_size)
        whole = group < size // self._group_size
        sent = place.copy()
        sent[whole] = permuted(group[whole], size // self._group_size, key) * self._group_size + within[whole]
        return (sent + permuted(np.zeros(1, np.int64), size, key)) % size


class TripletSampler(RoundSampler):
    """Batches of triplets, every triplet once per round, optionally a third of each batch from each triplet type.

    Args:
        type_T: ``TripletType`` of each triplet, shape (T,).
        batch_size: triplets in a global batch.
        seed: determines the order.
        balance: one stream per type that occurs, instead of one stream.
        faces_T3: the faces of each triplet; needed for a ``group_size`` above 1.
        group_size: triplets that stay adjacent in the order of ``order_by_shared_face`` (see ``RoundSampler``).

    Raises:
        ConfigError: the batch is larger than the data; the batch's share of a type exceeds the triplets of that type;
            or there are too few groups to shuffle.
    """

    def __init__(
        self,
        type_T: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        balance: bool,
        faces_T3: np.ndarray | None = None,
        group_size: int = 1,
    ) -> None:
        _check_batch_size(batch_size, len(type_T), "triplets")
        order_T = np.arange(len(type_T))
        if faces_T3 is not None and group_size > 1:
            order_T = order_by_shared_face(faces_T3, seed)
        streams = [order_T[part] for part in _by_kind(type_T[order_T])] if balance else [order_T]
        super().__init__(streams, num_items=len(type_T), batch_size=batch_size, seed=seed, group_size=group_size)
        fewest, share_of_type = min(map(len, streams)), -(-batch_size // len(streams))
        most = max(1, fewest // _MIN_GROUPS)
        if not 1 <= group_size <= most:
            of = "of each type, but one type has only" if balance else "of"
            raise ConfigError(
                f"DATA.TRIPLET_GROUP_SIZE: {group_size} triplets {of} {fewest}; allowed here: 1..{most}, so that there "
                f"are {_MIN_GROUPS} groups to shuffle"
            )
        if share_of_type > fewest:
            raise ConfigError(
                f"SOLVER.BATCH_SIZE: {batch_size} takes {share_of_type} triplets of each type, but one type has only "
                f"{fewest}; allowed here: 1..{fewest * len(streams)}, or DATA.BALANCE_TRIPLET_TYPES false"
            )


class ClassSampler(RoundSampler):
    """Batches of labelled faces: every face once per round, or each class equally often.

    Each class (or the whole set) is one stream. With balancing, faces of rare classes occur more often, as with the
    imbalanced sampler of the SCN and RAN systems, but sampling is without replacement: every face of a class occurs
    once per round of that class.

    Args:
        class_M: class of each face, shape (M,).
        batch_size: faces in a global batch.
        seed: determines the order.
        balance: one stream per class that occurs, instead of one stream.

    Raises:
        ConfigError: the batch is larger than the data.
    """

    def __init__(self, class_M: np.ndarray, *, batch_size: int, seed: int, balance: bool) -> None:
        _check_batch_size(batch_size, len(class_M), "labelled faces")
        streams = _by_kind(class_M) if balance else [np.arange(len(class_M))]
        super().__init__(streams, num_items=len(class_M), batch_size=batch_size, seed=seed)


def _check_batch_size(batch_size: int, num_items: int, items: str) -> None:
    if not 1 <= batch_size <= num_items:
        raise ConfigError(f"SOLVER.BATCH_SIZE: {batch_size} for {num_items} {items}; allowed: 1..{num_items}")


def _by_kind(kind_T: np.ndarray) -> list[np.ndarray]:
    """The indices of each kind that occurs."""
    return [np.flatnonzero(kind_T == kind) for kind in np.unique(kind_T)]


def share(total: int, parts: int, number: int) -> slice:
    """The ``number``-th of ``parts`` contiguous shares of ``total`` items; sizes differ by one at most."""
    return slice(total * number // parts, total * (number + 1) // parts)
