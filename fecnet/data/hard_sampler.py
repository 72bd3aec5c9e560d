"""Samples triplets that the net gets wrong more often. Shape suffix: T triplets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fecnet.data.packed import TripletTable
from fecnet.data.samplers import TripletSampler
from fecnet.utils.errors import ConfigError, DataError

_STATE = "favoured_T"


class HardTripletSampler(TripletSampler):
    """Batches of triplets in which a share is drawn from the triplets that the net got wrong after the last epoch.

    A part of the slots, evenly spread over each stream, takes the next of the stream's *favoured* triplets, which have
    rounds of their own; all other slots are filled as in ``TripletSampler``. Each triplet thus keeps ``1 − share`` of
    its uniform number of draws, and the favoured triplets share the rest equally.
    Two limits keep annotation noise from dominating. No triplet is drawn more than ``ceiling`` times as often as under
    uniform sampling; where few are favoured, their share is reduced. And a triplet is favoured only if more than two
    thirds of its raters agree or it has no votes: where raters disagree, the label may be wrong, not the net.
    The draws are a function of (seed, iteration, favoured triplets) and independent of the number of processes.

    Args:
        table: the triplets trained on.
        share: share of the draws, 0 or more, below 1.
        ceiling: most draws of a favoured triplet, as a multiple of uniform sampling; above 1.
        options: further arguments of ``TripletSampler``.

    Raises:
        ConfigError: a share or ceiling that is not allowed, no triplet on which the raters agree, or see
            ``TripletSampler``.
    """

    def __init__(self, table: TripletTable, *, share: float, ceiling: float, **options: Any) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"DATA.HARD_TRIPLETS: {share}; allowed: 0 or more, below 1")
        if not 1 < ceiling < math.inf:
            raise ConfigError(f"DATA.HARD_TRIPLETS_CEILING: {ceiling}; allowed: any number above 1")
        super().__init__(table.type_T, faces_T3=table.faces_T3, **options)
        self._share, self._ceiling = share, ceiling
        self._agreed_T = _raters_agree(table)
        if not self._agreed_T.any():
            raise ConfigError(
                f"DATA.HARD_TRIPLETS: {share}, but more than two thirds of the raters agree on none of {len(table):,} "
                "triplets; allowed here: 0"
            )
        self._take(np.zeros(len(table), bool))

    @property
    def share(self) -> float:
        """Share of all draws that come from the favoured triplets: the given share, or less because of the ceiling."""
        return float(np.mean(self._shares))

    def favour(self, wrong_T: np.ndarray) -> None:
        """Favour the triplets that the net gets wrong and on which the raters agree, in all batches from now on.

        Args:
            wrong_T: whether the net gets each triplet wrong, bool, shape (T,); the same on all ranks.
        """
        self._take(wrong_T & self._agreed_T)

    def state_dict(self) -> dict[str, Tensor]:
        """The favoured triplets."""
        return {_STATE: torch.from_numpy(self._favoured_T)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state_dict``.

        Raises:
            DataError: it belongs to other triplets.
        """
        favoured_T = state[_STATE].numpy()
        if (favoured_T.shape, favoured_T.dtype) != (self._favoured_T.shape, self._favoured_T.dtype):
            found = f"{favoured_T.dtype} of shape {favoured_T.shape}"
            raise DataError(f"'{_STATE}' is {found}; allowed: bool of shape {self._favoured_T.shape}")
        self._take(favoured_T)

    def _take(self, favoured_T: np.ndarray) -> None:
        self._favoured_T = favoured_T
        self._pools = [members[favoured_T[members]] for members in self._streams]
        # in a round of the stream each triplet is drawn once, a favoured one at most ceiling − 1 times more
        sizes = [(len(pool), len(members)) for pool, members in zip(self._pools, self._streams, strict=True)]
        self._shares = [min(self._share, (self._ceiling - 1) * favoured / size) for favoured, size in sizes]
        self._block.cache_clear()

    def _items(self, stream: int, turn: np.ndarray) -> np.ndarray:
        items = super()._items(stream, turn)
        pool, share = self._pools[stream], self._shares[stream]
        before = np.floor(turn * share).astype(np.int64)  # favoured draws of earlier turns
        is_hard = np.floor((turn + 1) * share) > before
        if is_hard.any():
            items[is_hard] = pool[self._places(before[is_hard], len(pool), len(self._streams) + stream)]
        return items


def _raters_agree(table: TripletTable) -> np.ndarray:
    """Whether more than two thirds of the raters chose the odd face, or there are no votes, bool, shape (T,).

    Two of three are not enough: one careless answer can make such a majority, most likely where the net contradicts it.
    """
    agree_T = np.take_along_axis(table.votes_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0].astype(np.int64)
    total_T = table.votes_T3.sum(1, dtype=np.int64)
    return np.asarray((3 * agree_T > 2 * total_T) | (total_T == 0))
