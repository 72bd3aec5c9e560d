"""``fecnet folds``: cross-validation of a recipe."""

from __future__ import annotations

import argparse

_EPILOG = """examples:
  fecnet folds ckplus_resnet18 --by published --fold 1      the published first fold of CK+
  fecnet folds ckplus_cpu --by subject --jobs 2             ten subject-independent folds, two at once
  fecnet folds ckplus_resnet18 DATA.NUM_FOLDS 5 --devices 0,1

Repeat an interrupted command to resume. NAME and OUTPUT_DIR set the folder, DATA.NUM_FOLDS and DATA.FOLD_SEED
the folds.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("recipe", help="YAML recipe of a classifier, or a name that `fecnet recipes` lists")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="overrides of the recipe's settings")
    parser.add_argument(
        "--by",
        default="",
        metavar="COLUMN",
        help="subject or another column of faces.csv: stratified folds grouped by it; published or corrected: the "
        "folds of CK+, in which training and test share subjects (default: DATA.FOLD_BY of the recipe)",
    )
    parser.add_argument("--fold", type=_numbers, default=[], metavar="1|1,2|all", help="folds to train (default all)")
    parser.add_argument("--jobs", type=int, default=1, help="concurrent folds, sharing the CPU cores (default 1)")
    parser.add_argument(
        "--devices",
        type=lambda text: text.split(","),
        default=[],
        metavar="0,1",
        help="GPUs, one concurrent fold on each, instead of --jobs",
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
    from fecnet.config.recipes import find_recipe
    from fecnet.studies.cross_validation import cross_validate

    cross_validate(
        find_recipe(options.recipe),
        options.overrides,
        by=options.by,
        folds=options.fold,
        jobs=options.jobs,
        devices=options.devices,
    )
    return 0
