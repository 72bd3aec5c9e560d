"""The package itself: its version (defined only here), its folder, and the command that started it."""

from __future__ import annotations

import sys
from pathlib import Path

VERSION = "0.1.0"
PACKAGE = Path(__file__).resolve().parents[1]


def own_command() -> list[str]:
    """The command of this process as typed: ``fecnet``, ``python train.py``, or a module."""
    path = Path(sys.argv[0])
    if path.stem == "fecnet" or path.resolve() == PACKAGE / "__main__.py":
        return ["fecnet"]
    if PACKAGE in path.resolve().parents:
        return ["python", "-m", ".".join(path.resolve().relative_to(PACKAGE.parent).with_suffix("").parts)]
    return ["python", sys.argv[0]]
