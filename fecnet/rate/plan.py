"""The plan of a study: number of triplets, number of raters, strategy."""

from __future__ import annotations

from dataclasses import dataclass

from fecnet.faces.which import Which, check_which
from fecnet.prepare.people import Shares
from fecnet.utils.errors import DataError
from fecnet.utils.lookup import lookup

STRATEGIES = ("random", "typed", "informative")
QUESTION = "Which face shows a different expression than the two others?"
_MOST_TRIPLETS, _MOST_RATERS = 1_000_000, 255


@dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Attributes:
        triplets: number of triplets.
        raters: answers wanted per triplet.
        strategy: one of ``STRATEGIES``.
        per_rater: maximum number of triplets per rater; 0: no limit.
        controls: number of triplets with a known answer, where there are labels.
        control_every: every ``control_every``-th task of a rater is a control; 0: none.
        hold_out: share of the people for each split but train, where the source has no splits; None: all in train.
        question: the question shown to raters.
        seed: seed of all random choices.
        faces: which faces of pictures the net of ``informative`` uses, see ``Encoder``; ``whole``: cropped faces.
    """

    triplets: int
    raters: int = 6
    strategy: str = "random"
    per_rater: int = 0
    controls: int = 12
    control_every: int = 10
    hold_out: Shares | None = None
    question: str = QUESTION
    seed: int = 0
    faces: Which = "auto"

    def __post_init__(self) -> None:
        check_which(self.faces, ("auto", "largest", "whole"))
        limits = {
            "triplets": (1, _MOST_TRIPLETS),
            "raters": (1, _MOST_RATERS),
            "per_rater": (0, _MOST_TRIPLETS),
            "controls": (0, 1000),
            "control_every": (0, 1000),
        }
        for name, (lowest, highest) in limits.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                option = f"--{name.replace('_', '-')}"
                raise DataError(f"{option} {value}; allowed: {lowest} to {highest:,}")
        if self.control_every == 1:
            raise DataError("--control-every 1: nothing but controls; allowed: 0 for none, or 2 to 1,000")
        lookup(dict.fromkeys(STRATEGIES), self.strategy, key="--strategy")
