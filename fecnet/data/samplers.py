"""Which items make the global batch of an iteration: pure functions of (seed, iteration), the same on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fecnet.data.permutation import permuted
from fecnet.data.sharing import order_by_shared_face
from fecnet.utils.errors import ConfigError

_GROUPS = 4  # least number of groups of a stream whose items stay together
_BLOCK = 32  # iterations whose items are found together: numpy's cost per call, shared


class RoundSampler:
    """Batches from endless streams of rounds; a round is a fresh permutation of the stream's items.

    Slot ``s`` of the training, counted over all batches, takes the next item of stream ``s % num_streams``.

    Args:
        streams: items of each stream, int64.
        num_items: how many items make an epoch.
        batch_size: items in a global batch.
        seed: chooses the order.
        together: so many items, neighbours in their stream, stay together in a round; where the groups begin differs
            from round to round. What is left over by whole groups comes at the end.
    """

    def __init__(
        self, streams: Sequence[np.ndarray], *, num_items: int, batch_size: int, seed: int, together: int = 1
    ) -> None:
        self.batch_size = batch_size
        self.iterations_per_epoch = -(-num_items // batch_size)
        self._seed = seed
        self._streams = streams
        self._together = together
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
            places[mine] = self._shuffled(turn[mine] % size, size, key)
        return places

    def _shuffled(self, place: np.ndarray, size: int, key: int) -> np.ndarray:
        """Where a permutation of ``0..size-1`` that keeps neighbours together sends each place."""
        if self._together == 1:
            return permuted(place, size, key)
        group, within = np.divmod(place, self._together)
        whole = group < size // self._together
        sent = place.copy()
        sent[whole] = permuted(group[whole], size // self._together, key) * self._together + within[whole]
        return (sent + permuted(np.zeros(1, np.int64), size, key)) % size


class TripletSampler(RoundSampler):
    """Batches of triplets, every triplet once per round, optionally a third of each batch from each triplet type.

    Args:
        type_T: ``TripletType`` of each triplet, shape (T,).
        batch_size: triplets in a global batch.
        seed: chooses the order.
        balance: one stream per type that occurs, instead of one stream.
        faces_T3: the faces of each triplet, where those that share one come together.
        together: so many neighbours in the order of ``order_by_shared_face`` stay together (see ``RoundSampler``).

    Raises:
        ConfigError: the batch is larger than the data, or its share of a type than there are of that type; too few
            groups to shuffle.
    """

    def __init__(
        self,
        type_T: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        balance: bool,
        faces_T3: np.ndarray | None = None,
        together: int = 1,
    ) -> None:
        _check_batch_size(batch_size, len(type_T), "triplets")
        order_T = np.arange(len(type_T))
        if faces_T3 is not None and together > 1:
            order_T = order_by_shared_face(faces_T3, seed)
        streams = [order_T[part] for part in _by_kind(type_T[order_T])] if balance else [order_T]
        super().__init__(streams, num_items=len(type_T), batch_size=batch_size, seed=seed, together=together)
        fewest, share_of_type = min(map(len, streams)), -(-batch_size // len(streams))
        most = max(1, fewest // _GROUPS)
        if not 1 <= together <= most:
            of = "of each type, of one there are only" if balance else "of"
            raise ConfigError(
                f"DATA.TRIPLET_GROUP_SIZE: {together} triplets {of} {fewest}; allowed here: 1..{most}, so that there "
                f"are {_GROUPS} groups to shuffle"
            )
        if share_of_type > fewest:
            raise ConfigError(
                f"SOLVER.BATCH_SIZE: {batch_size} takes {share_of_type} triplets of each type, of one there are only "
                f"{fewest}; allowed here: 1..{fewest * len(streams)}, or DATA.BALANCE_TRIPLET_TYPES false"
            )


class ClassSampler(RoundSampler):
    """Batches of labelled faces: every face once per round, or each class equally often.

    Each class, or all faces together, is a stream of its own. So a face of a rare class comes up more often, as with
    the imbalanced sampler of the SCN and RAN systems, but none is drawn by chance: in each round of a class every face
    comes once.

    Args:
        class_M: class of each face, shape (M,).
        batch_size: faces in a global batch.
        seed: chooses the order.
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
    """The places of each kind that occurs."""
    return [np.flatnonzero(kind_T == kind) for kind in np.unique(kind_T)]


def share(total: int, parts: int, number: int) -> slice:
    """The ``number``-th of ``parts`` contiguous shares of ``total`` items; sizes differ by one at most."""
    return slice(total * number // parts, total * (number + 1) // parts)
