"""``python -m fecnet.studies.child RECIPE KEY VALUE …``: the child process that trains one of several runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from fecnet.config.node import load_config
from fecnet.runs.training import train_run
from fecnet.utils import comm
from fecnet.utils.program import run_program


def train_one(recipe: str, *overrides: str) -> int:
    """Train or resume one run; acts as on SIGTERM when the parent process has ended (end of standard input).

    Args:
        recipe: path of a YAML recipe.
        overrides: ``KEY VALUE …`` that override the recipe.

    Returns:
        The exit code.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return train_run(load_config(recipe, overrides), recipe=Path(recipe).stem, resume="auto")
    finally:
        comm.stop()


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the parent closes it: nothing is ever written to it
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_program(lambda: train_one(*sys.argv[1:])))
