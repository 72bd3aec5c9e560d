"""Distances between the faces of triplets in an embedding, and whether it has collapsed (all faces coincide)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from fecnet.structures import Batch, Outputs, opposite_distances

COLLAPSED = 1e-6  # squared distance; below it float32 orders unit vectors by rounding errors


@dataclass(frozen=True)
class Spread:
    """Squared distances between the faces of triplets.

    Attributes:
        mean: mean over the three pairs of all triplets.
        largest: largest of all pairs.
    """

    mean: float
    largest: float

    @property
    def collapsed(self) -> bool:
        """Whether all faces coincide up to rounding."""
        return self.largest < COLLAPSED

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "collapsed": self.collapsed}

    def text(self) -> str:
        """One line."""
        if self.collapsed:
            return (
                f"collapsed: all distances between faces are below {COLLAPSED:g} (largest {self.largest:.2g}); ties "
                "are not counted as right, and an accuracy would mean nothing"
            )
        return f"spread: squared distances between the faces of a triplet are {self.mean:.3g} on average"


def sum_distances(out: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sum of the squared distances between the faces of each triplet, and their number; float32 scalars.

    Distances within triplets add up over batches and ranks, those between all faces of a batch do not.

    Args:
        out: has ``embedding``, shape (N, D).
        batch: has triplets.
    """
    assert batch.triplets is not None
    distance_B3 = opposite_distances(out["embedding"].detach().float()[batch.triplets.face_B3])
    return distance_B3.sum(), distance_B3.new_full((), distance_B3.numel())
