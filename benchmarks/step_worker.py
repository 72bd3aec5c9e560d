"""One side of ``step``: a training by the fecnet on PYTHONPATH, which pauses until it is asked; run as a script.

Arguments: recipe in ``config/``, then KEY VALUE …. For each line, a number of iterations, it trains so many and answers
in JSON: wall seconds, and peak resident memory in MB.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fecnet.engine.stepper import Stepper

answers, sys.stdout = sys.stdout, sys.stderr  # what a training prints is no answer
original = Stepper.step
left, begun = 0, 0.0


def paused(self: Stepper, batches: Sequence[Any], augment: Callable[..., Any], iteration: int) -> None:
    """An iteration, after those that were asked for are answered."""
    global left, begun
    if left == 0:
        if begun:
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"wall": time.perf_counter() - begun, "peak_mb": peak_mb}), file=answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # the rest of the training is not wanted
        left, begun = int(line), time.perf_counter()
    left -= 1
    original(self, batches, augment, iteration)


Stepper.step = paused  # type: ignore[method-assign]
sys.path.insert(0, str(Path.cwd()))  # of the checkout, where train.py is
recipe, *settings = sys.argv[1:]
sys.argv = ["train.py", f"config/{recipe}.yaml", *settings]
sys.exit(importlib.import_module("train").main())
