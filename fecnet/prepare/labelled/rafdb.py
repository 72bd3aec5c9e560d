"""Reads RAF-DB: the published lists of basic or compound expressions, or mirrors with class folders and CSV lists.

Li and Deng, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild".
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from fecnet.prepare.labelled.class_folders import read_class_folders
from fecnet.prepare.labelled.class_labels import class_indices, is_missing
from fecnet.prepare.labelled.label_files import hash_of, picture_name
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.prepare.labelled.picture_tree import read_tree
from fecnet.prepare.labelled.rafdb_lists import RafdbPictures, find_lists, read_rows
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.class_words import find_class
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

RAFDB_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # labels 1..7
RAFDB_COMPOUND_CLASSES = (  # labels 1..11
    *("happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised", "sadly disgusted"),
    *("fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted", "disgustedly surprised"),
)
_BASIC, _COMPOUND = ("rafdb", RAFDB_CLASSES), ("rafdb_compound", RAFDB_COMPOUND_CLASSES)
_SIZE = 100  # pixels, of the aligned faces as published


def read_rafdb(path: Path) -> LabelledSource:
    """Faces with the official split: 12,271 of ``train`` and 3,068 of ``test`` for the seven basic expressions.

    Labels start at 1 as published, or at 0. A list of compound expressions, which has all of 1 to 11 or is in a folder
    ``compound``, becomes the label set ``rafdb_compound`` with its eleven classes.

    Args:
        path: the folder with ``EmoLabel`` and ``Image``, or its parent with ``basic``; a mirror with
            ``train_labels.csv`` and ``test_labels.csv``, or with class folders only; or a list next to its images.

    Raises:
        UserError: no list and no class folder, a damaged list, or labels of neither set.
    """
    root, files = find_lists(path)
    if not files:
        return _read_folders(path)
    rows, dropped = read_rows(files)
    name, classes = _label_set({row.label for row in rows}, files[0])
    labels = class_indices({row.label for row in rows}, classes, str(files[0]), published=1)
    found, pictures = RafdbPictures(root), []
    in_folder = _folder_labels(found.folders(), classes, root)
    for row in rows:
        label, parts = labels.get(row.label), found.of(row)
        if label is None:
            dropped.add(row.split, "no_label" if is_missing(row.label) else "unknown_label")
            continue
        if in_folder.get(parts[-2] if len(parts) > 1 else "", label) != label:
            raise DataError(
                f"{row.place}: label {row.label}, but the image is {'/'.join(parts)}; allowed: the same class"
            )
        picture = root.joinpath(*parts)
        pictures.append(LabelledPicture(picture_name(picture, root), picture, label, row.split))
    for split, number in found.unlisted().items():
        dropped[split]["not_in_the_list"] += number
    return LabelledSource(name, path, classes, pictures, _SIZE, dropped=dropped, provenance=hash_of(*files))


def _read_folders(path: Path) -> LabelledSource:
    folders = {name for parts in read_tree(path).pictures for name in parts[:-1]}
    name, classes = _label_set(folders, path)
    return read_class_folders(path, name, size=_SIZE, classes=classes, numbers=1)


def _label_set(labels: Collection[str], place: Path) -> tuple[str, tuple[str, ...]]:
    """The name and the classes of the set that the labels belong to; logs a line for the compound set.

    Raises:
        DataError: labels of neither set.
    """
    numbers = {number for number in map(whole_number, labels) if number is not None}
    last = len(RAFDB_COMPOUND_CLASSES)
    whole = numbers in ({*range(1, last + 1)}, {*range(last)})
    whole = whole or any(find_class(label, RAFDB_COMPOUND_CLASSES) is not None for label in labels)
    if "compound" in (place.name.lower(), place.parent.name.lower(), place.parent.parent.name.lower()) or whole:
        logger.info("%s: compound expressions, %d classes", place, last)
        return _COMPOUND
    if other := sorted(number for number in numbers if number > len(RAFDB_CLASSES)):
        sets = f"1 to {len(RAFDB_CLASSES)}, or each of 1 to {last} for compound expressions (or a folder compound)"
        raise DataError(f"{place}: labels {' '.join(map(str, other))}; allowed: {sets}")
    return _BASIC


def _folder_labels(folders: Collection[str], classes: tuple[str, ...], root: Path) -> dict[str, int]:
    """The classes of the folders that are named after one, by number or word."""
    named = [name for name in folders if whole_number(name) is not None or find_class(name, classes) is not None]
    return class_indices(named, classes, str(root), published=1)
