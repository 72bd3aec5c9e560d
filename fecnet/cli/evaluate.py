"""``fecnet evaluate``: evaluate a trained net; ``inference.py`` of a checkout is the same."""

from __future__ import annotations

import argparse

_EPILOG = """The triplet accuracy of an embedding for ONE-, TWO- and THREE-CLASS triplets, and the accuracy of a
classifier.

examples:
  fecnet evaluate                            the newest run's best checkpoint
  fecnet evaluate result/demo --baselines    also pixels, a linear map and an untrained net
  fecnet evaluate result/demo DATA.PATH datasets/other --split test
  fecnet evaluate --nproc 2                  the same table with two processes, one GPU each if available

The line `near ties` says by how many the counts may differ with other batch sizes, threads or machines.

in a checkout, python inference.py … does the same
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "run_folder", nargs="?", default="", metavar="RUN", help="run or checkpoint folder (default: the newest run)"
    )
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
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from fecnet.utils.launch import relaunch

    if options.nproc != 1:
        return relaunch(options.nproc)
    from fecnet.runs.inference import infer_run
    from fecnet.utils import comm

    run, overrides = options.run_folder, options.overrides
    if len(overrides) % 2:  # `fecnet evaluate KEY VALUE`: the newest run
        run, overrides = "", [run, *overrides]
    try:
        infer_run(
            run, checkpoint=options.checkpoint, splits=options.split, baselines=options.baselines, overrides=overrides
        )
    finally:
        comm.stop()
    return 0
