"""An iteration of training, all of it, relative to another checkout in the same run: triplets/s and memory.

``--before FOLDER`` names the other checkout, such as a ``git worktree`` of an earlier commit; without it, this one is
measured against itself. Each side trains its own recipe on the same faces in a process of its own, which waits while
the other trains, in random order: the demo's recipe, and the published one with ResNet-18 at 160 pixels.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkouts import Worker, both, commits
from benchmarks.loop import large_faces, small_demo
from benchmarks.record import spread
from fecnet.config.node import Frozen

SCRIPT = Path(__file__).with_name("step_worker.py")
REQUIRED = {"times_before, 160_pixels": 1.15, "peak_mb_over_before": 1.1}
ROUNDS, WARM = 15, 10
ITERATIONS = {"demo": 60, "160_pixels": 5}  # asked for at once
_ENDLESS = ("SOLVER.LENGTH", "1000000", "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "0", "LOG.TENSORBOARD", "false")


def run(*, quick: bool, before: str = "") -> dict[str, Any]:
    """Both recipes; a quick run asks each side twice for two iterations of the demo's."""
    sides = both(before)
    found: dict[str, Any] = {"commits": commits(sides), "threads": torch.get_num_threads(), "required": REQUIRED}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = {"demo": ("demo", small_demo(folder, quick=quick))}
        if not quick:
            cases["160_pixels"] = ("fec_code_resnet18", large_faces(folder, quick=False))
        for name, (recipe, cfg) in cases.items():
            iterations, rounds = (2, 2) if quick else (ITERATIONS[name], ROUNDS)
            found[name] = compare(sides, recipe, cfg, folder / f"{name}-runs", iterations, rounds)
            print(f"{name}: {found[name]}", flush=True)
    return found


def compare(
    sides: dict[str, Path], recipe: str, cfg: Frozen, folder: Path, iterations: int, rounds: int
) -> dict[str, Any]:
    """Triplets/s of this side, and ratios to the other.

    Args:
        sides: checkout by name, ``before`` and ``now``.
        recipe: its name.
        cfg: settings of the data, the same for both.
        folder: of the runs.
        iterations: of each turn.
        rounds: number of turns.
    """
    # keys that other checkouts have too
    settings = ["DATA.PATH", cfg.DATA.PATH, "DATA.EVAL_SPLITS", "[val]", "DEVICE", "cpu"]
    settings += ["SOLVER.BATCH_SIZE", str(cfg.SOLVER.BATCH_SIZE)]
    workers = {
        name: Worker(
            SCRIPT,
            checkout,
            [recipe, *settings, *_ENDLESS, "OUTPUT_DIR", str(folder / name)],
            torch.get_num_threads(),
        )
        for name, checkout in sides.items()
    }
    for worker in workers.values():
        worker.ask(str(WARM))  # allocates
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name in random.sample(list(workers), len(workers)):  # a fixed order can keep step with other work
            taken[name].append(workers[name].ask(str(iterations)))
    for worker in workers.values():
        worker.close()
    before, now = taken["before"], taken["now"]
    return {
        "triplets_per_s": spread([iterations * cfg.SOLVER.BATCH_SIZE / one["wall"] for one in now]),
        "times_before": spread([old["wall"] / new["wall"] for old, new in zip(before, now, strict=True)]),
        "peak_mb_over_before": max(one["peak_mb"] for one in now) / max(one["peak_mb"] for one in before),
    }
