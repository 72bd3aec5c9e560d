"""What saving costs the loop: the demo's net with a checkpoint every 50 iterations against none."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.loop import loop_seconds, small_demo
from benchmarks.record import spread

PERIOD = 50  # iterations between two checkpoints
REQUIRED = 0.95  # least speed with saving, as a share of the speed without


def run(*, quick: bool) -> dict[str, Any]:
    """Time without saving over time with it, pair by pair."""
    iterations, pairs = (PERIOD + 10, 1) if quick else (4 * PERIOD + 10, 5)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cfg = small_demo(folder)
        result = folder / "result"
        ratio = spread(
            [
                # The mean: a save is rare, and its cost is real.
                loop_seconds(cfg, result, iterations, average=statistics.fmean)
                / loop_seconds(cfg, result, iterations, average=statistics.fmean, save_period=PERIOD)
                for _ in range(pairs)
            ]
        )
    print(f"speed with saving every {PERIOD} iterations over without: {ratio['median']:.3f} (≥ {REQUIRED})")
    return {"speed_with_saving": ratio, "period": PERIOD, "required": REQUIRED}
