"""Reads ``fer2013.csv`` as published on Kaggle, and ``fer2013new.csv`` of FERPlus, joined to it row by row.

The image names of FERPlus are not usable as a key: their numbers drift from the rows, and four occur twice.

Shape suffixes: N rows of fer2013.csv.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fecnet.prepare.labelled.label_files import read_table, split_name
from fecnet.utils.errors import DataError

SIDE = 48  # pixels
_VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")


@dataclass(frozen=True)
class FerRow:
    """A row of fer2013.csv; invalid values are None.

    Attributes:
        line: line number in the file.
        image_HW: uint8, shape (48, 48).
        emotion: 0..6.
        split: ``train``, ``public_test`` or ``private_test``.
    """

    line: int
    image_HW: np.ndarray | None
    emotion: int | None
    split: str | None


def read_fer2013_rows(path: Path) -> Iterator[FerRow]:
    """The rows of fer2013.csv in order.

    Raises:
        DataError: no such file, not CSV, or a column is missing.
    """
    for line, row in read_table(path, ("emotion", "pixels", "usage")):
        emotion = int(row["emotion"]) if row["emotion"] in set("0123456") else None
        yield FerRow(line, _image(row["pixels"]), emotion, split_name(row["usage"]))


def _image(text: str) -> np.ndarray | None:
    try:
        pixels = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    if pixels.size != SIDE * SIDE or pixels.min() < 0 or pixels.max() > 255:
        return None
    return pixels.astype(np.uint8).reshape(SIDE, SIDE)


def read_ferplus_votes(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The votes of fer2013new.csv.

    Returns:
        votes_NV: for the eight emotions of FERPlus, unknown, not a face: uint8, shape (N, 10).
        named_N: True where the row has an image name, bool, shape (N,).
        usages: Training, PublicTest or PrivateTest, as written.

    Raises:
        DataError: no such file, not CSV, a column is missing, or a value is not a number of votes.
    """
    votes, named, usages = [], [], []
    for line, row in read_table(path, ("usage", "image name", *_VOTES)):
        counts = [row[name] for name in _VOTES]
        if not all(count.isdecimal() and int(count) <= 255 for count in counts):
            raise DataError(f"{path}: line {line}: votes {', '.join(counts)}; allowed: whole numbers 0 to 255")
        votes.append([int(count) for count in counts])
        named.append(row["image name"] != "")
        usages.append(row["usage"])
    return np.array(votes, np.uint8).reshape(-1, len(_VOTES)), np.array(named, bool), usages
