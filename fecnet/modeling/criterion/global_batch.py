"""Operations over the global batch. G items of all ranks, in rank order."""

from __future__ import annotations

import torch
from torch import Tensor

from fecnet.utils import comm


def top_share(value_G: Tensor, present_G: Tensor, share: float) -> Tensor:
    """The ``share`` of the present items with the largest values, rounded down, at least one.

    Does not synchronise with the device. Equal values keep their order, so that all ranks agree.

    Args:
        value_G: values to rank, float, shape (G,).
        present_G: the items that count, bool, shape (G,).
        share: 0..1.

    Returns:
        bool, shape (G,); false for absent items.
    """
    order_G = value_G.detach().masked_fill(~present_G, -torch.inf).argsort(descending=True, stable=True)
    # 0.7 · 90 is 62.99… in floating point, and must give 63
    kept = (present_G.sum().double() * share + 1e-6).floor().clamp(min=1)
    return (order_G.argsort() < kept) & present_G


def own_rows(value_G: Tensor, counts: list[int]) -> Tensor:
    """This rank's part of a tensor that was gathered with ``counts``."""
    first = sum(counts[: comm.rank()])
    return value_G[first : first + counts[comm.rank()]]


def count_once(batch_value: Tensor) -> Tensor:
    """This rank's share of a value that is identical on all ranks, so that their sum counts it once."""
    return batch_value / comm.world_size()
