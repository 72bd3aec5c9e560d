"""Reads data sets of posed expressions whose file names have person and expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, picture_name
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.picture_tree import read_tree
from fecnet.utils.class_words import find_class
from fecnet.utils.errors import DataError

_SIZE = 112  # pixels


def read_named(
    path: Path, name: str, pattern: re.Pattern[str], codes: Mapping[str, str], example: str, channels: str
) -> LabelledSource:
    """Read images at any depth, in folders of any names; images with other names are counted as dropped.

    Args:
        path: the folder.
        name: name of the label set.
        pattern: matches a file name in capitals, with the groups ``expression``, ``subject`` and ``sequence``.
        codes: class by code of the expression, in label order.
        example: a file name, for messages.
        channels: default channels, ``grey`` or ``rgb``.

    Raises:
        DataError: no such folder, no image with such a name, or a name with another class than its folder.
    """
    classes = tuple(codes.values())
    pictures, dropped = [], Dropped()
    tree = read_tree(path)
    for parts in tree.pictures:
        found = pattern.match(parts[-1].upper())
        if not found:
            dropped.add(ALL, "bad_name")
            continue
        file, label = path.joinpath(*parts), classes.index(codes[found["expression"]])
        folder = find_class(parts[-2], classes) if len(parts) > 1 else None
        if folder not in (None, label):
            raise DataError(f"{file}: named {classes[label]} in folder {parts[-2]}; allowed: the same class")
        source, subject = picture_name(file, path), found["subject"]
        pictures.append(LabelledPicture(source, file, label, ALL, subject=subject, sequence=found["sequence"] or ""))
    if tree.others:
        dropped[ALL]["not_a_picture"] = len(tree.others)
    if not pictures:
        raise DataError(f"{path}: no picture named like {example}; seen: {tree.pictures[0][-1]}")
    return LabelledSource(name, path, classes, pictures, _SIZE, channels, dropped)
