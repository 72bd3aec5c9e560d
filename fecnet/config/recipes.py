"""Recipes shipped with the package: ``config/*.yaml`` in a checkout, ``fecnet/recipes/`` in an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fecnet.utils.errors import UserError
from fecnet.utils.files import replace_text
from fecnet.utils.package import PACKAGE

_INSTALLED, _CHECKOUT = PACKAGE / "recipes", PACKAGE.parent / "config"


def shipped_recipes() -> Mapping[str, Path]:
    """Recipe files by name, in alphabetical order."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """The recipe file of ``name``: a file of that path, else a shipped recipe of that name.

    Raises:
        UserError: neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if name not in shipped:
        raise UserError(f"{name}: no such file, and no recipe of that name; shipped: {', '.join(shipped)}")
    return shipped[name]


def copy_recipe(name: str, target: Path) -> Path:
    """Copy the shipped recipe ``name`` to the file ``target``, or into the folder ``target``.

    Returns:
        The file written.

    Raises:
        UserError: no shipped recipe of that name, or the file exists.
        OSError: the disk is full or read-only.
    """
    shipped = shipped_recipes()
    if name not in shipped:
        raise UserError(f"{name}: no recipe of that name; shipped: {', '.join(shipped)}")
    path = target / f"{name}.yaml" if target.is_dir() else target
    if path.exists():
        raise UserError(f"{path}: exists already; give another PATH")
    replace_text(path, shipped[name].read_text(encoding="utf-8"))
    return path


def recipe_title(path: Path) -> str:
    """The title of a recipe: the first line of its header comment.

    Raises:
        OSError: it cannot be read.
    """
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()
