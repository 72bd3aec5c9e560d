"""Learning-rate factors. All but the plateau are pure functions of the iteration, so resuming needs no state."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fecnet.utils.errors import UserError

Decay = Callable[[int], float]  # iterations already done -> factor


def constant() -> Decay:
    """1 throughout."""
    return lambda done: 1.0


def multistep(milestones: Sequence[int], gamma: float) -> Decay:
    """Multiplied by ``gamma`` once each of the increasing ``milestones`` (iterations) is done."""
    return lambda done: gamma ** bisect_right(milestones, done)


def step(size: int, gamma: float) -> Decay:
    """Multiplied by ``gamma`` after every ``size`` iterations."""
    return lambda done: gamma ** (done // size)


def exponential(size: int, gamma: float) -> Decay:
    """Falls smoothly, by ``gamma`` over every ``size`` iterations."""
    return lambda done: gamma ** (done / size)


def cosine(length: int) -> Decay:
    """Half a cosine from 1 to 0 over ``length`` iterations, then 0; arXiv:1608.03983 without restarts."""
    return lambda done: (1 + math.cos(math.pi * min(done / length, 1.0))) / 2


class Schedule:
    """Factor on every group's base learning rate: linear warm-up × decay.

    Args:
        decay: factor by the number of iterations already done.
        warmup: length of the warm-up in iterations; 0 = none.
        warmup_factor: factor of the first iteration; it reaches 1 after ``warmup`` iterations.
    """

    def __init__(self, decay: Decay, *, warmup: int = 0, warmup_factor: float = 0.1) -> None:
        self._decay = decay
        self._warmup = warmup
        self._warmup_factor = warmup_factor

    def factor(self, iteration: int) -> float:
        """The factor to run ``iteration`` (1-based) with."""
        done = iteration - 1
        factor = self._decay(done)
        if done < self._warmup:
            factor *= self._warmup_factor + (1 - self._warmup_factor) * done / self._warmup
        return factor

    def feedback(self, metric: float) -> None:
        """Hear the selection metric of an evaluation, the same on all ranks; most schedules ignore it."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run cannot compute from the iteration; plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``.

        Raises:
            UserError: it is the state of another kind of schedule.
        """
        expected = sorted(self.state_dict())
        if sorted(state) != expected:
            raise UserError(
                f"the checkpoint holds the state of another SOLVER.SCHEDULE: {sorted(state)}; allowed: {expected}"
            )


class PlateauSchedule(Schedule):
    """Multiplies by ``gamma`` whenever the metric has not risen for more than ``patience`` evaluations in a row.

    Args:
        patience: evaluations without a new best that change nothing.
        gamma: factor of each reduction.
        warmup: see ``Schedule``.
        warmup_factor: see ``Schedule``.
    """

    def __init__(self, patience: int, gamma: float, *, warmup: int = 0, warmup_factor: float = 0.1) -> None:
        super().__init__(lambda done: self._factor, warmup=warmup, warmup_factor=warmup_factor)
        self._patience = patience
        self._gamma = gamma
        self._best: float | None = None
        self._wait = 0
        self._factor = 1.0

    def feedback(self, metric: float) -> None:
        """Hear the metric of an evaluation; higher is better.

        Raises:
            UserError: the metric is not a number.
        """
        if math.isnan(metric):
            raise UserError("the metric fed to the plateau schedule is NaN; allowed: a number")
        if self._best is None or metric > self._best:
            self._best, self._wait = metric, 0
            return
        self._wait += 1
        if self._wait > self._patience:
            self._factor *= self._gamma
            self._wait = 0

    def state_dict(self) -> dict[str, Any]:
        """Best metric, evaluations waited, factor reached."""
        return {"best": self._best, "wait": self._wait, "factor": self._factor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``; see ``Schedule``."""
        super().load_state_dict(state)
        self._best, self._wait, self._factor = state["best"], state["wait"], state["factor"]
