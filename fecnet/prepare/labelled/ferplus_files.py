"""Reads the votes of FERPlus: ``fer2013new.csv``, joined to fer2013.csv row by row.

The image names of FERPlus are not usable as a key: their numbers drift from the rows, and four occur twice.

Shape suffixes: N rows of fer2013.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fecnet.prepare.labelled.label_files import read_table
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.errors import DataError

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")


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
    for line, row in read_table(path, ("usage", "image name", *VOTES)):
        votes.append(vote_counts(path, line, [row[name] for name in VOTES]))
        named.append(row["image name"] != "")
        usages.append(row["usage"])
    return np.array(votes, np.uint8).reshape(-1, len(VOTES)), np.array(named, bool), usages


def vote_counts(path: Path, line: int, written: Sequence[str]) -> list[int]:
    """The votes of a row.

    Raises:
        DataError: a value is not a number of votes.
    """
    counts = [count for count in map(whole_number, written) if count is not None and 0 <= count <= 255]
    if len(counts) < len(written):
        raise DataError(f"{path}: line {line}: votes {', '.join(written)}; allowed: whole numbers 0 to 255")
    return counts
