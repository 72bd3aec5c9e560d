"""Overhead of checkpoints: training the demo's net with a checkpoint every 50 iterations, and with none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.loop import iteration_seconds, small_demo
from benchmarks.record import spread

PERIOD = 50  # iterations between two checkpoints
REQUIRED = 0.95  # least speed with saving, as a share of the speed without


def run(*, quick: bool) -> dict[str, Any]:
    """Time of 50 iterations without a save over that of 50 with one, neighbours of one run.

    The run saves every 100 iterations: the 50 that begin with a save are compared with the 50 after them, so what the
    machine's speed does between two runs does not count.
    """
    pairs = 1 if quick else 20
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        taken = iteration_seconds(
            small_demo(folder, quick=quick), folder / "result", 2 * PERIOD * (pairs + 1), save_period=2 * PERIOD
        )
    ratios, with_save, without = [], 0.0, 0.0
    for first in range(2 * PERIOD - 1, 2 * PERIOD * pairs, 2 * PERIOD):  # the interval that holds the save
        saving, free = sum(taken[first : first + PERIOD]), sum(taken[first + PERIOD : first + 2 * PERIOD])
        ratios.append(free / saving)
        with_save, without = with_save + saving, without + free
    ratio = spread(ratios)
    print(f"speed with saving every {PERIOD} iterations over without: {ratio['median']:.3f} (≥ {REQUIRED})")
    print(f"by total time: {without / with_save:.3f}")
    return {
        "speed_with_saving": ratio,
        "speed_with_saving_by_total_time": without / with_save,
        "period": PERIOD,
        "required": REQUIRED,
    }
