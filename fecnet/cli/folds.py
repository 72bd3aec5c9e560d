"""``fecnet folds``: train and measure the folds of a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

_EPILOG = """examples:
  fecnet folds config/ckplus_resnet18.yaml --by published --fold 1      the published first fold of CK+
  fecnet folds config/ckplus_cpu.yaml --by subject --jobs 2             ten folds, nobody on both sides, two at once
  fecnet folds config/ckplus_resnet18.yaml DATA.NUM_FOLDS 5 --devices 0,1

The same command goes on where it was stopped. NAME and OUTPUT_DIR choose the folder, DATA.NUM_FOLDS and
DATA.FOLD_SEED the folds.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("recipe", type=Path, help="YAML recipe that learns classes")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="settings that replace the recipe's")
    parser.add_argument(
        "--by",
        default="",
        metavar="COLUMN",
        help="subject or another column of faces.csv: its values stay whole and classes are balanced; published or "
        "corrected: CK+'s folds, with people on both sides (default: DATA.FOLD_BY of the recipe)",
    )
    parser.add_argument("--fold", type=_numbers, default=[], metavar="1|1,2|all", help="which (default all)")
    parser.add_argument("--jobs", type=int, default=1, help="folds at once; they share the cores (default 1)")
    parser.add_argument(
        "--devices",
        type=lambda text: text.split(","),
        default=[],
        metavar="0,1",
        help="GPUs, a fold at once on each, instead of --jobs",
    )
    parser.set_defaults(run=_folds)


def _numbers(text: str) -> list[int]:
    if text == "all":
        return []
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}'; allowed: all, or numbers such as 1 or 1,2")
    return [int(part) for part in parts]


def _folds(options: argparse.Namespace) -> int:
    from fecnet.studies.cross_validation import cross_validate

    cross_validate(
        options.recipe,
        options.overrides,
        by=options.by,
        folds=options.fold,
        jobs=options.jobs,
        devices=options.devices,
    )
    return 0
