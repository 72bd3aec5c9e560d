"""``fecnet train``: train from a recipe; ``train.py`` of a checkout is the same."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fecnet.config.node import Frozen

_EPILOG = """examples:
  fecnet train                                  the demo: synthetic faces, a few minutes on a CPU
  fecnet train ferplus SOLVER.BASE_LR 1e-3      a recipe that comes with fecnet, with one key changed
  fecnet train mine.yaml --nproc 2              a recipe of your own, with two processes, one GPU each if available
  fecnet train --resume result/demo             resume a run
  torchrun --nproc_per_node=8 -m fecnet train fec_code_resnet18

in a checkout, python train.py … does the same
every recipe: fecnet recipes; every key: docs/config.md, or fecnet config
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("recipe", nargs="?", help="YAML file, or a name that `fecnet recipes` lists (default demo)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the recipe's settings")
    parser.add_argument(
        "--resume",
        default="",
        metavar="auto|PATH",
        help="resume a run folder; auto: the newest run of this recipe and settings, or a new one",
    )
    parser.add_argument("--nproc", type=int, default=1, metavar="N", help="processes on this machine (default 1)")
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from fecnet.utils.launch import relaunch

    if options.nproc != 1:
        return relaunch(options.nproc)
    path, cfg = _settings(options)
    # Imported here, so that a mistyped recipe or key is reported at once.
    from fecnet.runs.training import train_run
    from fecnet.utils import comm

    try:
        return train_run(cfg, recipe=path.stem if path else "", resume=options.resume)
    finally:
        comm.stop()


def _settings(options: argparse.Namespace) -> tuple[Path | None, Frozen]:
    """The recipe's file, None where a run is resumed without one, and the settings."""
    from fecnet.config.node import load_config
    from fecnet.config.recipes import find_recipe

    recipe, overrides = options.recipe, options.overrides
    if recipe is not None and re.fullmatch(r"[A-Z][A-Z0-9_.]*", recipe):
        recipe, overrides = None, [recipe, *overrides]  # `fecnet train KEY VALUE`: the default recipe
    path = find_recipe(recipe) if recipe is not None else None
    if options.resume in ("", "auto"):
        path = path or find_recipe("demo")
        return path, load_config(path, overrides)
    from fecnet.engine.checkpoint import find_checkpoint, load_info

    base = load_config(base=load_info(find_checkpoint(options.resume, "last")).settings())
    return path, load_config(path, overrides, base)
