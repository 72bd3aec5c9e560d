"""``fecnet profile``: profile of a training iteration."""

from __future__ import annotations

import argparse
import logging

from fecnet.cli.json_option import STDOUT, add_json_option, write_json

logger = logging.getLogger(__name__)

_EPILOG = """examples:
  fecnet profile demo
  fecnet profile ferplus SOLVER.COMPILE true --trace trace.json.gz
  torchrun --nproc_per_node=2 -m fecnet profile demo

how to read and act on it: docs/speed.md
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("recipe", help="YAML recipe, or a name that `fecnet recipes` lists")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the recipe's settings")
    parser.add_argument("--iterations", type=int, default=20, metavar="N", help="iterations to measure (default 20)")
    parser.add_argument("--trace", default="", metavar="FILE", help="write a trace for ui.perfetto.dev (.json[.gz])")
    add_json_option(parser, "the results")
    parser.set_defaults(run=_profile)


def _profile(options: argparse.Namespace) -> int:
    from fecnet.config.node import load_config
    from fecnet.config.recipes import find_recipe
    from fecnet.runs.profiling import format_profile, profile_run
    from fecnet.utils import comm

    cfg = load_config(find_recipe(options.recipe), options.overrides)
    try:
        found = profile_run(cfg, iterations=options.iterations, trace=options.trace)
        if options.json != STDOUT:
            logger.info(format_profile(found))
        if comm.is_main():
            write_json(options.json, {"recipe": options.recipe, "overrides": options.overrides, **found})
    finally:
        comm.stop()
    return 0
