"""``make demo`` on this machine: wall time, peak memory and the table it prints."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run_commands(commands: list[list[str]]) -> tuple[float, float]:
    """Run one after the other from the project's root; wall seconds, and the peak memory of the largest in MB."""
    started = time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def run(*, quick: bool) -> dict[str, Any]:
    """Data, training and inference into a temporary folder, as ``make demo`` does after installing."""
    with tempfile.TemporaryDirectory() as folder:
        where = ["OUTPUT_DIR", f"{folder}/result", "NAME", "demo", "DATA.PATH", f"{folder}/demo"]
        short = ["SOLVER.LENGTH", "2"] if quick else []
        wall, memory = run_commands(
            [
                ["train.py", "config/demo.yaml", *where, *short],
                ["inference.py", f"{folder}/result/demo", "--baselines"],
            ]
        )
        table = json.loads(Path(folder, "result/demo/evaluation/triplets.json").read_text())["splits"]["test"]
    percent = {name: {row: cell["percent"] for row, cell in rows.items()} for name, rows in table.items()}
    return {"wall_s": round(wall, 1), "peak_memory_mb": round(memory), "percent": percent}
