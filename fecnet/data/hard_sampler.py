"""Triplets that the net gets wrong, drawn more often. T triplets."""

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
    """Batches of triplets, a share of which is drawn among those that the net got wrong when it was last asked.

    A part of the slots, evenly spread over each stream, takes the next of the stream's *favoured* triplets, which have
    rounds of their own; all others stay as in ``TripletSampler``. So each triplet keeps ``1 − share`` of the draws that
    it has by chance, and the favoured ones have the rest in equal parts.

    Two ceilings keep noise from taking over. No triplet has more than ``ceiling`` times the draws that it has by
    chance: where few are favoured, their share shrinks. And a triplet is favoured only where more than two thirds of
    its raters agree, or it has no votes: where raters are split, what looks like the net's mistake may be theirs.

    The draws are a function of (seed, iteration, favoured triplets), whatever the number of processes.

    Args:
        table: the triplets trained on.
        share: of the draws, 0 to below 1.
        ceiling: above 1.
        options: further arguments of ``TripletSampler``.

    Raises:
        ConfigError: a share or ceiling that is not allowed, raters who agree on no triplet, or as ``TripletSampler``.
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
        """Share of the draws among the favoured triplets, of all streams; what is given, or less by the ceiling."""
        return float(np.mean(self._shares))

    def favour(self, wrong_T: np.ndarray) -> None:
        """Favour the triplets that are wrong and whose raters agree, in batches that have not been drawn yet.

        Args:
            wrong_T: which the net gets wrong, bool, shape (T,); the same on all ranks.
        """
        self._take(wrong_T & self._agreed_T)

    def state_dict(self) -> dict[str, Tensor]:
        """The favoured triplets."""
        return {_STATE: torch.from_numpy(self._favoured_T)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over ``state_dict``.

        Raises:
            DataError: it is of other triplets.
        """
        favoured_T = state[_STATE].numpy()
        if (favoured_T.shape, favoured_T.dtype) != (self._favoured_T.shape, self._favoured_T.dtype):
            found = f"{favoured_T.dtype} of shape {favoured_T.shape}"
            raise DataError(f"'{_STATE}' is {found}; allowed: bool of shape {self._favoured_T.shape}")
        self._take(favoured_T)

    def _take(self, favoured_T: np.ndarray) -> None:
        self._favoured_T = favoured_T
        self._pools = [members[favoured_T[members]] for members in self._streams]
        # in a round of the stream a favoured one is drawn once as all are, and ceiling − 1 times more at most
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

    Two of three are not enough: such a majority may be the slip of one rater, more so where the net contradicts it.
    """
    agree_T = np.take_along_axis(table.votes_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0].astype(np.int64)
    total_T = table.votes_T3.sum(1, dtype=np.int64)
    return np.asarray((3 * agree_T > 2 * total_T) | (total_T == 0))
