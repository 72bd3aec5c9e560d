"""``fecnet recipes``: the recipes that come with fecnet, as a list or as a file to change."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the actions and their options."""
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    copy = actions.add_parser("copy", help="write a recipe as a file, to change it")
    copy.add_argument("name", metavar="NAME", help="such as demo")
    copy.add_argument("path", type=Path, nargs="?", metavar="PATH", help="file or folder (default NAME.yaml here)")
    copy.set_defaults(run=_copy)


def _list(options: argparse.Namespace) -> int:
    from fecnet.config.recipes import recipe_title, shipped_recipes

    recipes = shipped_recipes()
    width = max(map(len, recipes))
    for name, path in recipes.items():
        print(f"{name:<{width}}  {recipe_title(path)}")
    return 0


def _copy(options: argparse.Namespace) -> int:
    from fecnet.config.recipes import copy_recipe

    path = copy_recipe(options.name, options.path or Path())
    print(f"{path}: written; train it with: fecnet train {path}")
    return 0
