"""Two gloo processes of one thread each relative to one process of one thread, in triplets/s.

Once with the global batch of one process (the same update, half of the batch per process), once with that batch on each
process, as is usual on a larger machine. Reference: two independent processes with the same number of images each, the
limit of the machine.
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
    """Triplets/s on one process, on two, and on two that share nothing, in turns."""
    iterations, pairs = (4, 1) if quick else (120, 5)
    rates: dict[str, list[float]] = {name: [] for name in ("one", "two", "two_apart", "two_each", "two_apart_each")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        batch = small_demo(folder, quick=quick).SOLVER.BATCH_SIZE

        def rate(processes: int, of: int) -> float:
            return of / seconds(start(folder, processes, iterations, of))

        def rate_apart(each: int) -> float:
            return sum(each / seconds(alone) for alone in [start(folder, 1, iterations, each) for _ in range(2)])

        for _ in range(pairs):
            rates["one"].append(rate(1, batch))
            rates["two"].append(rate(2, batch))
            rates["two_apart"].append(rate_apart(batch // 2))
            rates["two_each"].append(rate(2, 2 * batch))
            rates["two_apart_each"].append(rate_apart(batch))
    over_one = {
        name: spread([two / one for two, one in zip(taken, rates["one"], strict=True)])
        for name, taken in rates.items()
        if name != "one"
    }
    for title, together, apart in (
        ("the batch of one process shared", "two", "two_apart"),
        ("that batch on each process", "two_each", "two_apart_each"),
    ):
        print(f"{title}: {_said(over_one[together])} (≥ {REQUIRED}); two that share nothing: {_said(over_one[apart])}")
    return {
        "triplets_per_s": {name: spread(taken) for name, taken in rates.items()},
        "over_one": over_one,
        "required": REQUIRED,
        "recipe": "config/demo.yaml",
        "global_batch_of_one": batch,
    }


def _said(of: dict[str, Any]) -> str:
    return f"{of['median']:.2f} × ({of['min']:.2f}–{of['max']:.2f})"


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
