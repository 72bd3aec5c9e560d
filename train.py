"""Train from a recipe: ``python train.py [RECIPE] [KEY VALUE …]``, or under torchrun.

Without arguments: config/demo.yaml, its data prepared if missing.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fecnet.utils.program import run_program

_EPILOG = """examples:
  python train.py                                           the demo: synthetic faces, a few minutes on a CPU
  python train.py config/ferplus.yaml SOLVER.BASE_LR 1e-3   a recipe with one key changed
  python train.py --resume result/demo                      resume a run
  torchrun --nproc_per_node=8 train.py config/fec_code_resnet18.yaml

all keys: docs/config.md, or `fecnet config`
"""


def main() -> int:
    """Parse, resolve the settings, train."""
    options = parse(sys.argv[1:])
    return run_program(lambda: _train(options))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as options; exits on ``--help`` and on unknown options."""
    parser = argparse.ArgumentParser(
        description="Train from a recipe.", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", help="YAML recipe (default config/demo.yaml)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the recipe's settings")
    parser.add_argument(
        "--resume",
        default="",
        metavar="auto|PATH",
        help="resume a run folder; auto: the newest run of this recipe and settings, or a new one",
    )
    return parser.parse_intermixed_args(arguments)


def _train(options: argparse.Namespace) -> int:
    # Imported here, so that --help answers at once.
    from fecnet.config.node import load_config
    from fecnet.engine.checkpoint import find_checkpoint, load_meta
    from fecnet.runs.training import train_run
    from fecnet.utils import comm

    recipe, overrides = options.recipe, options.overrides
    if recipe is not None and re.fullmatch(r"[A-Z_.]+", recipe):
        recipe, overrides = None, [recipe, *overrides]  # `train.py KEY VALUE`: the default recipe
    base = None
    if options.resume not in ("", "auto"):
        base = load_config(base=load_meta(find_checkpoint(options.resume, "last"))["config"])
    elif recipe is None:
        recipe = str(Path(__file__).parent / "config" / "demo.yaml")
    cfg = load_config(recipe, overrides, base)
    try:
        return train_run(cfg, recipe=Path(recipe).stem if recipe else "", resume=options.resume)
    finally:
        comm.stop()


if __name__ == "__main__":
    sys.exit(main())
