"""A batch's targets, or what to say where the data set has none."""

from __future__ import annotations

from torch import Tensor

from fecnet.structures import Batch
from fecnet.utils.errors import UserError


def target_of(batch: Batch, name: str, criterion: str) -> Tensor:
    """The target called ``name``.

    Args:
        batch: this rank's images.
        name: ``label``, ``distribution`` or ``valence_arousal``.
        criterion: who asks, for the error.

    Raises:
        UserError: the data set has no such target.
    """
    if name not in batch.targets:
        found = ", ".join(sorted(batch.targets)) or "none"
        raise UserError(f"LOSS.CRITERIA: '{criterion}' needs the target '{name}'; DATA.LABELS gives: {found}")
    return batch.targets[name]


def present_rows(target_NX: Tensor) -> Tensor:
    """1 where a row of numbers is present, 0 where it is NaN, float32, shape (N,)."""
    return (~target_NX.isnan().any(dim=1)).float()
