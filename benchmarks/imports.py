"""Start-up time of commands: ``--help``, importing the package, and importing each package relative to torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.demo import ROOT
from benchmarks.record import seconds, spread

STARTS = {
    "python": ("-c", "pass"),
    "import fecnet": ("-c", "import fecnet"),
    "fecnet --help": ("-m", "fecnet", "--help"),
    "import torch": ("-c", "import torch"),
    "import fecnet.runs.training": ("-c", "import fecnet.runs.training"),
    "import fecnet.prepare.synthetic": ("-c", "import fecnet.prepare.synthetic"),
    "import fecnet.encoder.encoder": ("-c", "import fecnet.encoder.encoder"),
}
QUICK = ("import torch", "import fecnet.runs.training")  # those that are compared


def start(arguments: Sequence[str]) -> None:
    """A process of its own, from its start to its end."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def run(*, quick: bool) -> dict[str, Any]:
    """Wall seconds of fresh processes, in turn; what training imports beside torch is a difference within a round."""
    rounds = 1 if quick else 9
    starts = {name: STARTS[name] for name in (QUICK if quick else STARTS)}
    taken: dict[str, list[float]] = {name: [] for name in starts}
    for number in range(rounds if quick else rounds + 1):
        for name, arguments in starts.items():
            found = seconds(partial(start, arguments))
            if number or quick:  # the first round reads the files from the disk
                taken[name].append(found)
    times = {name: spread(found) for name, found in taken.items()}
    pairs = zip(taken["import fecnet.runs.training"], taken["import torch"], strict=True)
    over_torch = spread([ours / torch for ours, torch in pairs])
    for name, time in times.items():
        print(f"{name:<34}{1000 * time['median']:>8.0f} ms")
    print(f"training's imports over torch's: {over_torch['median']:.2f} ×")
    return {"seconds": times, "training_over_torch": over_torch}
