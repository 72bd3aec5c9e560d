"""Triplets that share faces, taken together: fewer faces to look at in each batch, and what that does to accuracy.

FERPlus triplets (config/ferplus.yaml, shorter) with so many triplets together, several seeds each, at equal iterations.
The data set is made first where it is absent: ``fecnet prepare ferplus FER2013_FOLDER datasets/ferplus``. Runs are kept
in ``result/sharing``: finished ones are not trained again, others go on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.demo import ROOT
from benchmarks.record import spread
from fecnet.config.node import load_config
from fecnet.data.build import build_loader
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_meta
from fecnet.many_runs import PlannedRun, train_all

RECIPE = ROOT / "config" / "ferplus.yaml"
TOGETHER = (1, 8)
ITERATIONS, SEEDS, JOBS = 1000, 3, 2
SPLIT = "public_test"


def run(*, quick: bool) -> dict[str, Any]:
    """Train and count; without the data set a quick run passes over it."""
    path = ROOT / load_config(RECIPE).DATA.PATH
    if not (path / "dataset.json").is_file():
        if quick:
            print(f"{path.relative_to(ROOT)} is absent: not measured")
            return {}
        raise SystemExit(
            f"{path.relative_to(ROOT)} is absent: fecnet prepare ferplus FER2013_FOLDER {path.relative_to(ROOT)}"
        )
    if quick:
        with tempfile.TemporaryDirectory() as temporary:
            return measure(Path(temporary), iterations=2, seeds=[0], together=TOGETHER)
    return measure(ROOT / "result" / "sharing", iterations=ITERATIONS, seeds=range(SEEDS), together=TOGETHER)


def measure(folder: Path, *, iterations: int, seeds: Sequence[int], together: Sequence[int]) -> dict[str, Any]:
    """All runs, those of one seed after each other: whatever else the machine does meets all alike."""
    options = ["SOLVER.LENGTH", str(iterations), "SOLVER.WARMUP", str(min(100, iterations // 2)), "EVAL.PERIOD", "0"]
    runs = {
        (seed, number): PlannedRun(
            f"together-{number}-seed-{seed}",
            (*options, "CHECKPOINT.PERIOD", "0", "SEED", str(seed), "DATA.TRIPLETS_TOGETHER", str(number)),
        )
        for seed, number in product(seeds, together)
    }
    train_all(RECIPE, list(runs.values()), folder, jobs=JOBS)
    metas = {key: load_meta(find_checkpoint(folder / planned.name, "last")) for key, planned in runs.items()}
    cases: list[dict[str, Any]] = []
    for number in together:
        percent = [metas[seed, number]["accuracy"]["splits"][SPLIT]["ALL"]["percent"] for seed in seeds]
        taken = [metas[seed, number]["seconds"] for seed in seeds]
        pairs = [
            (metas[seed, together[0]]["seconds"] / metas[seed, number]["seconds"], own - first)
            for seed, own, first in zip(seeds, percent, _percent(metas, seeds, together[0]), strict=True)
        ]
        case: dict[str, Any] = {
            "triplets_together": number,
            "faces_a_batch": round(faces_a_batch(number), 1),
            "training_s": spread(taken),
            "ALL_percent": spread(percent),
            "times_faster": spread([faster for faster, _ in pairs]),
            "points_gained": spread([points for _, points in pairs]),
        }
        print(
            f"{number:>3} together: {case['faces_a_batch']} faces a batch, ALL "
            f"{' '.join(f'{value:.1f}' for value in percent)}, {case['times_faster']['median']:.2f} × faster"
        )
        cases.append(case)
    return {"iterations": iterations, "seeds": len(seeds), "jobs": JOBS, "split": SPLIT, "together": cases}


def faces_a_batch(number: int) -> float:
    """Faces that go through the net in an iteration, mean over a hundred."""
    cfg = load_config(RECIPE, ["DATA.TRIPLETS_TOGETHER", str(number)])
    dataset = PackedDataset(ROOT / cfg.DATA.PATH)
    loader = build_loader(cfg, dataset, rank=0, world_size=1, device=torch.device("cpu"))
    return float(np.mean([len(batch.row_U) for _, batches in loader(1, 100) for batch in batches]))


def _percent(metas: dict[tuple[int, int], dict[str, Any]], seeds: Sequence[int], number: int) -> list[float]:
    return [metas[seed, number]["accuracy"]["splits"][SPLIT]["ALL"]["percent"] for seed in seeds]
