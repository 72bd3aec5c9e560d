"""Reads images in class folders: ``<class>/*.jpg``, or below split folders, ``train/<class>/*.jpg``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, picture_name, pictures_in, split_name, subfolders
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.utils.errors import DataError


def read_folder(path: Path) -> LabelledSource:
    """Read images of any classes, ordered by name over all splits.

    Raises:
        DataError: no such folder, or no folder in it.
    """
    return read_class_folders(path, "label", size=112)


def read_class_folders(
    path: Path,
    name: str,
    *,
    size: int,
    channels: str = "rgb",
    classes: tuple[str, ...] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> LabelledSource:
    """Read images in folders named by class.

    The first level is taken as splits where all its folders have names of splits (train, val, test, …). Images may be
    in subfolders of a class. Other files, and images outside of class folders, are counted as dropped.

    Args:
        path: the folder.
        name: of the label set.
        size: default side of a face, pixels.
        channels: ``grey`` or ``rgb``, by default.
        classes: in label order, lower case; images of others are counted as dropped. None: the folders, by name.
        aliases: alternative folder names of the classes.

    Raises:
        DataError: no such folder, or no folder in it.
    """
    folders = subfolders(path)
    if not folders:
        raise DataError(f"{path}: no folders in it; expected: <class>/*.jpg or <split>/<class>/*.jpg")
    splits = {folder: split_name(folder.name) for folder in folders}
    roots = {folder: str(split) for folder, split in splits.items()} if all(splits.values()) else {path: ALL}
    of_split = {root: subfolders(root) for root in roots}
    if classes is None:
        classes = tuple(sorted({folder.name for found in of_split.values() for folder in found}))
        index = {folder: place for place, folder in enumerate(classes)}
    else:
        index = {folder: place for place, folder in enumerate(classes)}
        index |= {alias: index[known] for alias, known in (aliases or {}).items()}
    pictures, dropped = [], Dropped()
    for root, split in roots.items():
        for file in root.iterdir():
            if file.is_file() and not file.name.startswith("."):
                dropped.add(split, "not_in_a_class_folder")
        for folder in of_split[root]:
            label = index.get(folder.name, index.get(folder.name.lower()))
            files, others = pictures_in(folder)
            if others:
                dropped[split]["not_a_picture"] += others
            if label is None:
                dropped[split]["unknown_label"] += len(files)
                continue
            pictures += [LabelledPicture(picture_name(file, path), file, label, split) for file in files]
    return LabelledSource(name, path, classes, pictures, size, channels, dropped)
