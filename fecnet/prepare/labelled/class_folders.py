"""Reads images in class folders: ``<class>/*.jpg``, with splits or subjects above or below."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fecnet.prepare.labelled.class_labels import class_indices, free_classes
from fecnet.prepare.labelled.folder_levels import (
    CLASS,
    SUBJECT,
    UNKNOWN,
    Levels,
    check_depth,
    folder_word,
    folder_words,
    free_levels,
    known_levels,
    parse_levels,
    split_of,
    splits_of,
)
from fecnet.prepare.labelled.label_files import Dropped, escaped, picture_name
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.prepare.labelled.picture_tree import PictureTree, read_tree
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.class_words import find_class
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)


def read_folder(path: Path, levels: str | None = None) -> LabelledSource:
    """Read images of any classes: numbers are sorted by value, words by name; synonyms are one class.

    Args:
        path: the folder.
        levels: meaning of the folders of each level, such as ``subject/class``; None to detect it.

    Raises:
        DataError: no such folder, no class folder in it, or an ambiguous meaning of its folders.
    """
    tree = read_tree(path)
    if levels is None:
        found = free_levels(tree)
    else:
        found = parse_levels(levels)
        check_depth(tree, found)
    level = found.index(CLASS)
    classes, index = free_classes({*folder_words(tree, level), *_empty_classes(tree, level)}, str(path))
    return _read(tree, found, "label", classes, index, 112, "rgb")


def read_class_folders(
    path: Path, name: str, *, size: int, classes: tuple[str, ...], channels: str = "rgb", numbers: int | None = None
) -> LabelledSource:
    """Read images in folders named after known classes, in any form and case of the word.

    Splits are recognised by their words, above or below the classes; images may be in subfolders. Other files, and
    images outside of class folders, are counted as dropped.

    Args:
        path: the folder.
        name: name of the label set.
        size: default side of a face, pixels.
        classes: names in label order.
        channels: default channels, ``grey`` or ``rgb``.
        numbers: the number of the first class, where folders may be numbered; see ``label_base``.

    Raises:
        DataError: no such folder, or a folder that names no class or no split.
    """
    tree = read_tree(path)
    last = "" if numbers is None else f", or {numbers} to {numbers + len(classes) - 1}"
    allowed = ", ".join(classes) + last

    def holds_classes(words: Sequence[str]) -> bool:
        counted = [whole_number(word) for word in words] if numbers is not None else []
        return any(find_class(word, classes) is not None for word in words) or any(
            number is not None and 0 <= number <= len(classes) for number in counted
        )

    levels = known_levels(tree, holds_classes, allowed)
    words = folder_words(tree, levels.index(CLASS))
    index = class_indices(words, classes, str(path), published=numbers or 0)
    if unknown := [word for word in words if word not in index or (numbers is None and whole_number(word) is not None)]:
        raise DataError(f"{path}: class folders {' '.join(unknown)}; allowed: {allowed}")
    return _read(tree, levels, name, classes, index, size, channels)


def _empty_classes(tree: PictureTree, level: int) -> list[str]:
    """The words of empty folders on the level of the classes: they are classes too, and a warning names them."""
    return [
        folder_word(parts, level)
        for parts in tree.empty
        if len(parts) == level + 1
        and not any(other[: level + 1] == parts for other in tree.others)
        and all(name in tree.names(above) for above, name in enumerate(parts[:-1]))
    ]


def _read(
    tree: PictureTree,
    levels: Levels,
    name: str,
    classes: tuple[str, ...],
    index: dict[str, int],
    size: int,
    channels: str,
) -> LabelledSource:
    """The images by their places in the tree."""
    splits = splits_of(tree, levels)
    _tell(tree, levels, splits, classes)
    pictures, dropped = [], Dropped()
    for parts in tree.others:
        split = split_of(parts, levels, splits)
        if split != UNKNOWN:  # a file outside of the splits, such as a list or a licence, is not counted
            dropped.add(split, "not_a_picture")
    subject = levels.index(SUBJECT) if SUBJECT in levels else None
    for parts in tree.pictures:
        split = split_of(parts, levels, splits)
        if len(parts) <= len(levels):
            dropped.add(split, "not_in_a_class_folder")
            continue
        file, label = tree.path.joinpath(*parts), index[folder_word(parts, levels.index(CLASS))]
        person = "" if subject is None else escaped(parts[subject])
        pictures.append(LabelledPicture(picture_name(file, tree.path), file, label, split, subject=person))
    return LabelledSource(name, tree.path, classes, pictures, size, channels, dropped)


def _tell(tree: PictureTree, levels: Levels, splits: dict[str, str], classes: Sequence[str]) -> None:
    """Log how the folders were interpreted, so that wrong labels are noticed before training."""
    folders_of: dict[str, list[str]] = {}
    for folder, split in splits.items():
        folders_of.setdefault(split, []).append(folder)
    named = ", ".join(f"{split} is {' and '.join(of)}" for split, of in folders_of.items() if of != [split])
    order = ", ".join(f"{place} {name}" for place, name in enumerate(classes))
    logger.info(f"{tree.path}: folders read as {'/'.join(levels)}{f' ({named})' if named else ''}; classes: {order}")
    if tree.empty:
        shown = ", ".join("/".join(parts) for parts in tree.empty[:6]) + (" …" if len(tree.empty) > 6 else "")
        logger.info(f"{tree.path}: folders without a picture: {shown}")
