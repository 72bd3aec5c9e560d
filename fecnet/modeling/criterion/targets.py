"""Access to a batch's targets."""

from __future__ import annotations

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


def present_rows(target_NX: Tensor) -> Tensor:
    """1 where a row of numbers is present, 0 where it is NaN, float32, shape (N,)."""
    return (~target_NX.isnan().any(dim=1)).float()
