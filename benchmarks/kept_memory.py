"""What an iteration pays for memory that is given back to the system: ResNet18 on 90 faces of 160 pixels, on a CPU.

Forward and backward, each setting in processes of its own, taken in turn: freed memory *given back*, as the C library
does by itself; *kept*, as training and ``fecnet embed`` tell it to; and kept in *small pages*
(``NUMPY_MADVISE_HUGEPAGE=0``). Batches differ in size, as those of triplets do. The first steps, in which the memory is
taken, do not count.
"""

from __future__ import annotations

import json
import operator
import os
import resource
import statistics
import subprocess
import sys
import time
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
    """Seconds of a step as a ratio to those with memory given back, page faults of a step, most memory."""
    steps, rounds = (1, 1) if quick else (12, 5)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, (keeps, environment) in SETTINGS.items():
            command = [sys.executable, "-m", "benchmarks.kept_memory", str(int(keeps)), str(steps), str(int(quick))]
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, check=True)
            found[name].append(json.loads(done.stdout))
    given_back = [measured["step_s"] for measured in found["given back"]]
    table: dict[str, dict[str, Any]] = {}
    for name, runs in found.items():
        table[name] = {
            "times_faster": spread(list(map(operator.truediv, given_back, (measured["step_s"] for measured in runs)))),
            "page_faults_a_step": round(statistics.median(measured["page_faults"] for measured in runs)),
            "peak_memory_mb": round(statistics.median(measured["peak_mb"] for measured in runs)),
        }
        faster = table[name]["times_faster"]
        print(
            f"{name}: {faster['median']:.2f} × ({faster['min']:.2f}–{faster['max']:.2f}), "
            f"{table[name]['page_faults_a_step']:,} page faults a step, {table[name]['peak_memory_mb']:,} MB at most"
        )
    return table


def measure(*, keeps: bool, steps: int, quick: bool) -> dict[str, float]:
    """The median step of this process, after the first ones."""
    if keeps:
        keep_freed_memory()
    precision = choose_precision("auto", torch.device("cpu"))
    size, width = (32, 0.125) if quick else (160, 1.0)
    net = ResNet18(width=width).to(memory_format=torch.channels_last)
    taken = []
    warm = 1 if quick else WARM
    for step in range(warm + steps):
        seen = torch.randn(90 - 5 * (step % 4), 3, size, size).to(memory_format=torch.channels_last)
        begun, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            out = net(seen)
        out.float().square().sum().backward()
        net.zero_grad()
        per_face = (time.perf_counter() - begun) / len(seen)
        taken.append((90 * per_face, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults))
    step_s, page_faults = (statistics.median(column) for column in zip(*taken[warm:], strict=True))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"step_s": step_s, "page_faults": page_faults, "peak_mb": peak_kb / 1024}


if __name__ == "__main__":
    keeps, steps, quick = map(int, sys.argv[1:])
    print(json.dumps(measure(keeps=bool(keeps), steps=steps, quick=bool(quick))))
