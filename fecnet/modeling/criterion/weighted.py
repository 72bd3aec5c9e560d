"""Weighted sum of criteria, such as cross-entropy with SCN's ranking, or triplets with classes (joint training)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from fecnet.structures import Batch, Outputs, Relabels
from fecnet.utils.errors import ConfigError


class WeightedCriteria(nn.Module):
    """The weighted sum of several criteria; each term is averaged over its own items.

    Args:
        weighted: criteria and their weights.

    Raises:
        ConfigError: no criterion, or a weight that is not finite or below 0.
    """

    def __init__(self, weighted: Sequence[tuple[nn.Module, float]]) -> None:
        super().__init__()
        if not weighted:
            raise ConfigError("LOSS.CRITERIA: no name; give at least one")
        for _, weight in weighted:
            if not 0 <= weight < math.inf:
                raise ConfigError(f"LOSS.WEIGHTS: {weight}; allowed: 0 or more")
        self.criteria = nn.ModuleList(criterion for criterion, _ in weighted)
        self._weights = [float(weight) for _, weight in weighted]

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of the items' weights by term, of all criteria.

        Raises:
            ConfigError: two criteria have a term of the same name.
        """
        return self._merged([cast(Any, criterion).count(batch) for criterion in self.criteria])

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum over this rank's items by term, times the criterion's weight."""
        every = [criterion(out, batch) for criterion in self.criteria]
        return self._merged(
            [
                {name: total * weight for name, total in terms.items()}
                for terms, weight in zip(every, self._weights, strict=True)
            ]
        )

    def begin(self, iteration: int) -> None:
        """Pass the next iteration to the criteria that need it."""
        for criterion in self.criteria:
            begin: Callable[[int], None] | None = getattr(criterion, "begin", None)
            if begin is not None:
                begin(iteration)

    def feedback(self) -> Relabels | None:
        """The new labels of the criterion that relabels since the last call; None without one. A collective."""
        for criterion in self.criteria:
            feedback: Callable[[], Relabels] | None = getattr(criterion, "feedback", None)
            if feedback is not None:
                return feedback()
        return None

    def _merged(self, every: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        merged: dict[str, Tensor] = {}
        for terms in every:
            assert not merged.keys() & terms.keys(), f"two criteria have a term of {[*terms]}"
            merged |= terms
        return merged
