"""Two gloo processes of one thread each against one process of one thread: the same global batch, images/s."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.loop import RECIPE, loop_seconds, small_demo
from benchmarks.record import spread
from fecnet.config.node import load_config
from fecnet.utils import comm

ROOT = Path(__file__).parents[1]
REQUIRED = 1.9  # least speed-up of two processes


def launch(folder: Path, processes: int, iterations: int) -> float:
    """Seconds per iteration of the loop on ``processes`` processes of one thread each."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "benchmarks.scaling", str(folder), str(iterations)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def run(*, quick: bool) -> dict[str, Any]:
    """Images/s on one and on two processes, pair by pair."""
    iterations, pairs = (4, 1) if quick else (120, 5)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = 3 * small_demo(folder).SOLVER.BATCH_SIZE
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(pairs):
            for processes, rate in rates.items():
                rate.append(images / launch(folder, processes, iterations))
    speedup = spread([two / one for one, two in zip(rates[1], rates[2], strict=True)])
    print(
        f"two processes over one: {speedup['median']:.2f} × (≥ {REQUIRED}), {speedup['min']:.2f}–{speedup['max']:.2f}"
    )
    return {
        "images_per_s": {processes: spread(rate) for processes, rate in rates.items()},
        "speedup": speedup,
        "required": REQUIRED,
        "recipe": "config/demo.yaml",
    }


def main() -> None:
    """What each process runs; rank 0 prints the seconds per iteration."""
    folder, iterations = Path(sys.argv[1]), int(sys.argv[2])
    cfg = load_config(RECIPE, ["DATA.PATH", str(folder / "demo")])
    taken = loop_seconds(cfg, folder / "result", iterations)
    if comm.is_main():
        print(taken)
    comm.stop()


if __name__ == "__main__":
    main()
