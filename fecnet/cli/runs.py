"""``fecnet runs``: the training runs of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("result"), help="folder of runs (default result)")
    parser.set_defaults(run=_runs)


def _runs(options: argparse.Namespace) -> int:
    from fecnet.runs.listing import find_runs, format_runs

    runs = find_runs(options.folder)
    print(format_runs(runs) if runs else f"{options.folder}: no runs; train one with: fecnet train")
    return 0
