"""Two gloo processes of one thread each against one process of one thread: the same global batch, images/s.

Beside it, what the machine itself gives: two processes that know nothing of each other, half the batch each.
"""

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


def start(folder: Path, processes: int, iterations: int, batch: int) -> subprocess.Popen[str]:
    """Start the loop on ``processes`` processes of one thread each; it prints the seconds per iteration."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "benchmarks.scaling", str(folder), str(iterations), str(batch)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def seconds(launched: subprocess.Popen[str]) -> float:
    """Seconds per iteration of a loop that was started."""
    printed, _ = launched.communicate()
    if launched.returncode:
        raise RuntimeError(f"a measured loop ended with exit status {launched.returncode}")
    return float(printed.splitlines()[-1])


def run(*, quick: bool) -> dict[str, Any]:
    """Images/s on one process, on two, and on two that share nothing, in turns."""
    iterations, pairs = (4, 1) if quick else (120, 5)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        batch = small_demo(folder).SOLVER.BATCH_SIZE
        one, two, apart = [], [], []
        for _ in range(pairs):
            one.append(3 * batch / seconds(start(folder, 1, iterations, batch)))
            two.append(3 * batch / seconds(start(folder, 2, iterations, batch)))
            halves = [start(folder, 1, iterations, batch // 2) for _ in range(2)]
            apart.append(sum(3 * (batch // 2) / seconds(half) for half in halves))
    speedup = spread([fast / slow for fast, slow in zip(two, one, strict=True)])
    ceiling = spread([fast / slow for fast, slow in zip(apart, one, strict=True)])
    print(
        f"two processes over one: {speedup['median']:.2f} × (≥ {REQUIRED}), {speedup['min']:.2f}–{speedup['max']:.2f}; "
        f"two that share nothing: {ceiling['median']:.2f} ×, {ceiling['min']:.2f}–{ceiling['max']:.2f}"
    )
    return {
        "images_per_s": {"one": spread(one), "two": spread(two), "two_apart": spread(apart)},
        "speedup": speedup,
        "ceiling": ceiling,
        "required": REQUIRED,
        "recipe": "config/demo.yaml",
    }


def main() -> None:
    """What each process runs; rank 0 prints the seconds per iteration. The ranks of a launcher share a folder."""
    folder, iterations, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    cfg = load_config(RECIPE, ["DATA.PATH", str(folder / "demo"), "SOLVER.BATCH_SIZE", str(batch)])
    taken = loop_seconds(cfg, folder / f"result-{os.getppid()}", iterations)
    if comm.is_main():
        print(taken)
    comm.stop()


if __name__ == "__main__":
    main()
