"""Triplets that share faces kept adjacent: fewer unique faces per batch, and the effect on accuracy.

FERPlus triplets (config/ferplus.yaml, shorter) at several group sizes, with several seeds each. All runs process an
equal number of faces, and so take about the same time: with fewer unique faces per batch there are more batches. A
missing data set must be prepared first: ``fecnet prepare ferplus FER2013_FOLDER datasets/ferplus``. Runs are kept in
``result/sharing``: finished ones are not trained again, others are resumed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.demo import ROOT
from benchmarks.loop import faces_a_batch
from benchmarks.record import spread
from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.studies.scheduler import PlannedRun, train_all

RECIPE = ROOT / "config" / "ferplus.yaml"
TOGETHER = (1, 2)
ITERATIONS, SEEDS, JOBS = 2500, 3, 2  # iterations of triplets that come alone
SPLIT = "public_test"


def run(*, quick: bool) -> dict[str, Any]:
    """Train and count; without the data set a quick run skips it."""
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
    base = load_config(RECIPE)
    base = load_config(None, ["DATA.PATH", str(ROOT / base.DATA.PATH)], base=base)
    faces = {
        number: faces_a_batch(load_config(None, ["DATA.TRIPLET_GROUP_SIZE", str(number)], base=base))
        for number in together
    }
    lengths = {number: round(iterations * faces[together[0]] / faces[number]) for number in together}
    runs = {
        (seed, number): PlannedRun(
            f"together-{number}-for-{lengths[number]}-seed-{seed}",
            ("DATA.TRIPLET_GROUP_SIZE", str(number), "SEED", str(seed), *_schedule(lengths[number])),
        )
        for seed, number in product(seeds, together)
    }
    train_all(RECIPE, list(runs.values()), folder, jobs=JOBS)
    infos = {key: load_info(find_checkpoint(folder / planned.name, "last")) for key, planned in runs.items()}
    percent = {key: info.accuracy.splits[SPLIT]["ALL"]["percent"] for key, info in infos.items() if info.accuracy}
    pace = {(seed, number): infos[seed, number].seconds / lengths[number] for seed, number in infos}
    cases: list[dict[str, Any]] = []
    for number in together:
        case: dict[str, Any] = {
            "triplets_together": number,
            "faces_a_batch": round(faces[number], 1),
            "iterations": lengths[number],
            "training_s": spread([infos[seed, number].seconds for seed in seeds]),
            "times_faster_per_iteration": spread([pace[seed, together[0]] / pace[seed, number] for seed in seeds]),
            "ALL_percent": spread([percent[seed, number] for seed in seeds]),
            "points_gained": spread([percent[seed, number] - percent[seed, together[0]] for seed in seeds]),
        }
        print(
            f"{number:>3} together: {case['faces_a_batch']} faces a batch, {lengths[number]} iterations, ALL "
            f"{' '.join(f'{percent[seed, number]:.1f}' for seed in seeds)}, "
            f"{case['training_s']['median']:.0f} s, "
            f"{case['times_faster_per_iteration']['median']:.2f} × faster per iteration"
        )
        cases.append(case)
    return {"seeds": len(seeds), "jobs": JOBS, "split": SPLIT, "together": cases}


def _schedule(length: int) -> tuple[str, ...]:
    warm_up = str(min(100, length // 2))
    return ("SOLVER.LENGTH", str(length), "SOLVER.WARMUP", warm_up, "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "0")
