"""``fecnet costs``: the nets of several runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from fecnet.utils.errors import UserError


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run or checkpoint folders; the first is the reference")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="of the runs (default best)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="faces in a forward pass (default 1)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="to measure times in (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw accuracy over parameters and over MACs")
    parser.set_defaults(run=_costs)


def _costs(options: argparse.Namespace) -> int:
    from fecnet.studies.costs import format_costs, measure_costs, plot_costs
    from fecnet.utils.files import replace_json

    if options.plot and options.plot.suffix.lower() != ".png":
        raise UserError(f"{options.plot}: --plot writes a file *.png")
    if options.batch < 1:
        raise UserError(f"--batch {options.batch}; allowed: 1 or more")
    found = measure_costs(options.runs, which=options.checkpoint, batch=options.batch, seconds=options.seconds)
    print(format_costs(found))
    if options.plot:
        plot_costs(found, options.plot)
    if options.json:
        replace_json(options.json, {"runs": found, "batch": options.batch})
    return 0
