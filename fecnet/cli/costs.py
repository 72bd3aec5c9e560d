"""``fecnet costs``: costs and accuracy of several runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from fecnet.cli.json_option import add_json_option, print_text, write_json
from fecnet.utils.errors import UserError


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run or checkpoint folders; the first is the reference")
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="checkpoint of a run (default best)"
    )
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="faces per forward pass (default 1)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="duration of the time measurement (default 10)"
    )
    add_json_option(parser, "the results")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="plot accuracy over parameters and over MACs")
    parser.set_defaults(run=_costs)


def _costs(options: argparse.Namespace) -> int:
    from fecnet.studies.costs import format_costs, measure_costs, plot_costs

    if options.plot and options.plot.suffix.lower() != ".png":
        raise UserError(f"{options.plot}: --plot writes a file *.png")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size}; allowed: 1 or more")
    found = measure_costs(
        options.runs, checkpoint=options.checkpoint, batch_size=options.batch_size, seconds=options.seconds
    )
    print_text(options.json, format_costs(found))
    if options.plot:
        plot_costs(found, options.plot)
    write_json(options.json, {"runs": found, "batch_size": options.batch_size})
    return 0
