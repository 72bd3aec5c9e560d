"""``fecnet prune``: prune a trained net (network slimming)."""

from __future__ import annotations

import argparse

_EPILOG = """sparsity training, pruning and fine-tuning: docs/pruning.md"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.epilog = _EPILOG
    parser.add_argument("run_folder", metavar="RUN", help="run or checkpoint folder, such as result/fer2013_vgg19")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--ratio", type=float, help="fraction of the channels to remove, such as 0.5")
    goal.add_argument("--target-parameters", type=int, metavar="N", help="prune to N parameters")
    goal.add_argument("--target-macs", type=int, metavar="N", help="prune to N multiply-accumulates per face")
    least = "minimum fraction of each layer to keep, such as 0.25 (default: one channel)"
    parser.add_argument("--min-keep", type=float, default=0.0, metavar="SHARE", help=least)
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="checkpoint of a run (default best)"
    )
    parser.add_argument("--inner", action="store_true", help="prune inside residual blocks only, as published")
    parser.add_argument("--output", default="", metavar="DIR", help="folder to write (default RUN-pruned)")
    parser.set_defaults(run=_prune)


def _prune(options: argparse.Namespace) -> int:
    from fecnet.pruning.prune import Goal, prune_run

    goal = Goal(options.ratio, options.target_parameters, options.target_macs, options.min_keep)
    prune_run(
        options.run_folder, goal, checkpoint=options.checkpoint, inner=options.inner, output=options.output.rstrip("/")
    )
    return 0
