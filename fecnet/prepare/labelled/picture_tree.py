"""The images below a folder, and the names of the folders that contain them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fecnet.faces.picture_files import PICTURE_SUFFIXES
from fecnet.utils.errors import DataError

Parts = tuple[str, ...]  # parts of a path relative to the folder; for a file, the last one is its name

_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}


@dataclass
class PictureTree:
    """The content of a folder, sorted by name, without hidden files and files of operating systems.

    Attributes:
        path: the folder.
        pictures: the images.
        others: all other files.
        empty: the highest folders without an image at any depth.
    """

    path: Path
    pictures: list[Parts] = field(default_factory=list)
    others: list[Parts] = field(default_factory=list)
    empty: list[Parts] = field(default_factory=list)

    def names(self, level: int) -> list[str]:
        """The distinct names of the folders of a level that hold images, at any depth, sorted."""
        return sorted({parts[level] for parts in self.pictures if len(parts) > level + 1})

    def depth(self) -> int:
        """Number of folders above the deepest image."""
        return max((len(parts) - 1 for parts in self.pictures), default=0)


def read_tree(path: Path) -> PictureTree:
    """Read the content of a folder at any depth, following links to folders.

    Raises:
        DataError: no such folder, or no image in it.
    """
    tree = scan_tree(path)
    if not tree.pictures:
        raise DataError(f"{path}: no picture in it or its folders; allowed: {' '.join(PICTURE_SUFFIXES)}")
    return tree


def scan_tree(path: Path) -> PictureTree:
    """``read_tree`` that accepts a folder without images.

    Raises:
        DataError: no such folder.
    """
    if not path.is_dir():
        seen = "a file; expected: a folder; unpack archives first" if path.is_file() else "no such folder"
        raise DataError(f"{path}: {seen}")
    tree = PictureTree(path)
    _add(tree, path, (), {path.resolve()})
    tree.pictures.sort()
    return tree


def _add(tree: PictureTree, folder: Path, parts: Parts, above: set[Path]) -> None:
    """Add the content of ``folder``; ``above`` are its ancestors, to detect links that lead back to them."""
    before = len(tree.pictures), len(tree.empty)
    for entry in _entries(folder):
        inner = (*parts, entry.name)
        if entry.is_dir():
            if (real := entry.resolve()) not in above:
                _add(tree, entry, inner, above | {real})
        elif entry.is_file() or entry.is_symlink():  # a broken link is counted as an image that is missing
            (tree.pictures if entry.suffix.lower() in PICTURE_SUFFIXES else tree.others).append(inner)
    if parts and len(tree.pictures) == before[0]:
        tree.empty[before[1] :] = [parts]


def _entries(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith(".") and entry.name.lower() not in _LEFT_BY_SYSTEMS:
            yield entry
