"""Access to a batch's targets."""

from __future__ import annotations

import torch
from torch import Tensor

from fecnet.structures import Batch


def target_of(batch: Batch, name: str, criterion: str) -> Tensor:
    """The target ``name``.

    Args:
        batch: this rank's images.
        name: ``label``, ``distribution`` or ``valence_arousal``.
        criterion: name of the caller. Missing targets are reported before training starts, so the batch has them here.
    """
    assert name in batch.targets, f"'{criterion}' reads '{name}'; the batch has {sorted(batch.targets)}"
    return batch.targets[name]


def target_parts(batch: Batch, name: str, criterion: str) -> list[tuple[Tensor, Tensor]]:
    """The target ``name`` and its weights; for mixed samples, followed by those of their partners.

    Args:
        batch: this rank's images.
        name: see ``target_of``.
        criterion: see ``target_of``.

    Returns:
        One or two targets, each with its weights, float32, shape (N,).
    """
    own = target_of(batch, name, criterion)
    if batch.mix is None:
        return [(own, torch.ones(len(own), device=own.device))]
    return [(own, batch.mix.share_N), (batch.mix.targets[name], 1 - batch.mix.share_N)]


def present_rows(target_NX: Tensor) -> Tensor:
    """1 where a row of numbers is present, 0 where it is NaN, float32, shape (N,)."""
    return (~target_NX.isnan().any(dim=1)).float()
