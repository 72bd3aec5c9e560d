"""Evaluate a trained net: ``python inference.py [RUN] [--nproc N]``, or under torchrun.

Prints the triplet accuracy of an embedding for ONE-, TWO- and THREE-CLASS triplets, and the accuracy of a classifier.
Without arguments: the newest run's best checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fecnet.utils.launch import launch
from fecnet.utils.program import run_program

_EPILOG = """examples:
  python inference.py                            the newest run's best checkpoint
  python inference.py result/demo --baselines    also pixels, a linear map and an untrained net
  python inference.py result/demo DATA.PATH datasets/other --split test
  python inference.py --nproc 2                  the same table with two processes, one GPU each if available
"""


def main() -> int:
    """Parse and measure, on more processes where asked to."""
    options = parse(sys.argv[1:])
    if options.nproc != 1:  # each of the processes is told to be one
        arguments = [*sys.argv[1:], "--nproc", "1"]
        return run_program(lambda: launch(str(Path(__file__).resolve()), arguments, nproc=options.nproc))
    return run_program(lambda: _measure(options))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as options; exits on ``--help`` and on unknown options."""
    parser = argparse.ArgumentParser(
        description="Evaluate a trained net on triplets, classes, or both, as it was trained.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", nargs="?", default="", help="run or checkpoint folder (default: the newest run)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the checkpoint's settings")
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="checkpoint of a run (default best)"
    )
    parser.add_argument(
        "--split", action="append", default=[], help="split; repeat for more (default: DATA.REPORT_SPLITS)"
    )
    parser.add_argument(
        "--baselines", action="store_true", help="also evaluate pixels, linear map, untrained net, oracle"
    )
    parser.add_argument("--nproc", type=int, default=1, metavar="N", help="processes on this machine (default 1)")
    return parser.parse_intermixed_args(arguments)


def _measure(options: argparse.Namespace) -> int:
    # Imported here, so that --help answers at once.
    from fecnet.runs.inference import infer_run
    from fecnet.utils import comm

    run, overrides = options.run, options.overrides
    if len(overrides) % 2:  # `inference.py KEY VALUE`: the newest run
        run, overrides = "", [run, *overrides]
    try:
        infer_run(
            run, checkpoint=options.checkpoint, splits=options.split, baselines=options.baselines, overrides=overrides
        )
    finally:
        comm.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
