"""Learning-rate schedules. All but the plateau schedule are pure functions of the iteration and have no state."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fecnet.utils.errors import UserError

Decay = Callable[[int], float]  # completed iterations -> factor


def constant() -> Decay:
    """Constant factor 1."""
    return lambda done: 1.0


def multistep(milestones: Sequence[int], gamma: float) -> Decay:
    """Multiplied by ``gamma`` after each of the increasing ``milestones`` (iterations)."""
    return lambda done: gamma ** bisect_right(milestones, done)


def step(size: int, gamma: float) -> Decay:
    """Multiplied by ``gamma`` after every ``size`` iterations."""
    return lambda done: gamma ** (done // size)


def exponential(size: int, gamma: float) -> Decay:
    """Exponential decay by ``gamma`` per ``size`` iterations."""
    return lambda done: gamma ** (done / size)


def cosine(length: int) -> Decay:
    """Half a cosine from 1 to 0 over ``length`` iterations, then 0; arXiv:1608.03983 without restarts."""
    return lambda done: (1 + math.cos(math.pi * min(done / length, 1.0))) / 2


class Schedule:
    """Factor on every group's base learning rate: linear warm-up × decay.

    Args:
        decay: factor by the number of completed iterations.
        warmup: length of the warm-up in iterations; 0 = none.
        warmup_factor: factor of the first iteration; it reaches 1 after ``warmup`` iterations.
    """

    def __init__(self, decay: Decay, *, warmup: int = 0, warmup_factor: float = 0.1) -> None:
        self._decay = decay
        self._warmup = warmup
        self._warmup_factor = warmup_factor

    def factor(self, iteration: int) -> float:
        """The factor for ``iteration`` (1-based)."""
        done = iteration - 1
        factor = self._decay(done)
        if done < self._warmup:
            factor *= self._warmup_factor + (1 - self._warmup_factor) * done / self._warmup
        return factor

    def feedback(self, metric: float) -> None:
        """Take the selection metric of an evaluation, identical on all ranks; most schedules ignore it."""

    def state_dict(self) -> dict[str, Any]:
        """The state that cannot be computed from the iteration, as plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a ``state_dict``.

        Raises:
            UserError: it is the state of another kind of schedule.
        """
        expected = sorted(self.state_dict())
        if sorted(state) != expected:
            raise UserError(
                f"the checkpoint holds the state of another SOLVER.SCHEDULE: {sorted(state)}; allowed: {expected}"
            )


class PlateauSchedule(Schedule):
    """Multiplies by ``gamma`` whenever the metric has not improved for more than ``patience`` evaluations in a row.

    Args:
        patience: evaluations without improvement that are tolerated.
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
        """Take the metric of an evaluation; higher is better.

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
        """Best metric, evaluations since then, current factor."""
        return {"best": self._best, "wait": self._wait, "factor": self._factor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a ``state_dict``; see ``Schedule``."""
        super().load_state_dict(state)
        self._best, self._wait, self._factor = state["best"], state["wait"], state["factor"]
