"""What saving costs the loop: the demo's net with a checkpoint every 50 iterations against none."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.loop import RECIPE
from benchmarks.record import spread
from fecnet.config.node import Frozen, load_config
from fecnet.engine.trainer import RunFiles, Trainer
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.training import train_run
from fecnet.utils.signals import StopOnSignal

PERIOD = 50  # iterations between two checkpoints
REQUIRED = 0.95  # least speed with saving, as a share of the speed without


def loop_seconds(cfg: Frozen, folder: Path, iterations: int, period: int) -> float:
    """Seconds of the loop alone, start-up and the evaluation at the end left out."""
    taken: list[float] = []
    measure = Trainer._measure
    train = Trainer.train

    def timed_train(self: Trainer, files: RunFiles, stop: StopOnSignal) -> int:
        taken.append(-time.perf_counter())
        return train(self, files, stop)

    def timed_measure(self: Trainer, files: RunFiles) -> bool:
        taken[0] += time.perf_counter()  # at the last iteration: the loop is over
        return measure(self, files)

    options = ["OUTPUT_DIR", str(folder), "NAME", f"every-{period}-{time.monotonic_ns()}"]
    options += ["SOLVER.LENGTH", str(iterations), "CHECKPOINT.PERIOD", str(period)]
    Trainer.train, Trainer._measure = timed_train, timed_measure  # type: ignore[method-assign]
    try:
        train_run(load_config(None, options, base=cfg), recipe="saving")
    finally:
        Trainer.train, Trainer._measure = train, measure  # type: ignore[method-assign]
    return taken[0]


def run(*, quick: bool) -> dict[str, Any]:
    """Time without saving over time with it, pair by pair."""
    iterations, pairs = (PERIOD + 10, 1) if quick else (4 * PERIOD + 10, 5)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare_synthetic(folder / "demo", num_train_identities=100, num_train_triplets=2000, progress=False)
        options = ["DATA.PATH", str(folder / "demo"), "EVAL.PERIOD", "0", "LOG.TENSORBOARD", "false"]
        cfg = load_config(RECIPE, options)
        ratios = [
            loop_seconds(cfg, folder, iterations, 0) / loop_seconds(cfg, folder, iterations, PERIOD)
            for _ in range(pairs)
        ]
    measured = {"speed_with_saving": spread(ratios), "period": PERIOD, "required": REQUIRED}
    print(f"speed with saving every {PERIOD} iterations over without: {spread(ratios)['median']:.3f} (≥ {REQUIRED})")
    return measured
