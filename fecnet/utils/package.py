"""The package itself: its version, the only place it is written, its folder, and how it was started."""

from __future__ import annotations

import sys
from pathlib import Path

VERSION = "0.1.0"
PACKAGE = Path(__file__).resolve().parents[1]


def own_command() -> list[str]:
    """The program that this process runs, as one would type it: ``fecnet``, ``python train.py``, or a module."""
    path = Path(sys.argv[0])
    if path.stem == "fecnet" or path.resolve() == PACKAGE / "__main__.py":
        return ["fecnet"]
    if PACKAGE in path.resolve().parents:
        return ["python", "-m", ".".join(path.resolve().relative_to(PACKAGE.parent).with_suffix("").parts)]
    return ["python", sys.argv[0]]
