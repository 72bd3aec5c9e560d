"""Cost of returning memory to the system: steps of ResNet18 on 75 to 90 faces of 160 pixels, on a CPU.

Forward and backward, each setting in separate processes, in random order: freed memory *given back*, glibc's default;
*kept*, as in training and ``fecnet embed``; and kept in *small pages* (``NUMPY_MADVISE_HUGEPAGE=0``). The number of
faces is random, as with triplets that share faces; times are those of 90 faces. The first steps, which allocate the
memory, do not count. Kept blocks are split over time, so the memory of the process is measured twice, to detect
growth.
"""

from __future__ import annotations

import json
import operator
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.demo import ROOT
from benchmarks.record import spread
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.utils.env import choose_precision
from fecnet.utils.memory import keep_freed_memory

SETTINGS = {  # keep freed memory, what the environment says besides
    "given back": (False, {}),
    "kept": (True, {}),
    "kept, small pages": (True, {"NUMPY_MADVISE_HUGEPAGE": "0"}),
}
WARM = 12  # first steps, not counted


def run(*, quick: bool) -> dict[str, Any]:
    """Seconds of a step as a ratio to those with memory given back, page faults of a step, memory."""
    steps, rounds = (2, 1) if quick else (40, 3)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(SETTINGS), len(SETTINGS)):
            keeps, environment = SETTINGS[name]
            command = [sys.executable, "-m", "benchmarks.kept_memory", str(int(keeps)), str(steps), str(int(quick))]
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True
            )
            found[name].append(json.loads(done.stdout))
    given_back = [measured["step_s"] for measured in found["given back"]]
    table: dict[str, dict[str, Any]] = {}
    for name, runs in found.items():
        others = {
            key: round(statistics.median(measured[key] for measured in runs)) for key in runs[0] if key != "step_s"
        }
        faster = spread(list(map(operator.truediv, given_back, (run_["step_s"] for run_ in runs))))
        table[name] = {"times_faster": faster, **others}
        print(
            f"{name}: {faster['median']:.2f} × ({faster['min']:.2f}–{faster['max']:.2f}), "
            f"{others['page_faults']:,} page faults a step, {others['halfway_mb']:,} MB halfway, "
            f"{others['end_mb']:,} at the end, {others['peak_mb']:,} at most"
        )
    return table


def measure(*, keeps: bool, steps: int, quick: bool) -> dict[str, float]:
    """Medians of the steps of this process after the first ones; its memory halfway, at the end and at most."""
    precision = choose_precision("auto", torch.device("cpu"))
    warm, size, width = (1, 32, 0.125) if quick else (WARM, 160, 1.0)
    net = ResNet18(width=width).to(memory_format=torch.channels_last)
    if keeps:
        keep_freed_memory()
    drawn, taken, memory_mb = random.Random(0), [], []
    for _ in range(warm + steps):
        seen = torch.randn(drawn.randint(75, 90), 3, size, size).to(memory_format=torch.channels_last)
        begun, faults = time.perf_counter(), _usage().ru_minflt
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            out = net(seen)
        out.float().square().sum().backward()
        net.zero_grad()
        taken.append((90 / len(seen) * (time.perf_counter() - begun), _usage().ru_minflt - faults))
        memory_mb.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6)
    step_s, page_faults = (statistics.median(column) for column in zip(*taken[warm:], strict=True))
    memory = {
        "halfway_mb": memory_mb[warm + steps // 2],
        "end_mb": memory_mb[-1],
        "peak_mb": _usage().ru_maxrss * 1024 / 1e6,
    }
    return {"step_s": step_s, "page_faults": page_faults, **memory}


def _usage() -> resource.struct_rusage:
    return resource.getrusage(resource.RUSAGE_SELF)


if __name__ == "__main__":
    keeps, steps, quick = map(int, sys.argv[1:])
    print(json.dumps(measure(keeps=bool(keeps), steps=steps, quick=bool(quick))))
