"""Reads CSV files with the pixels of 48×48 grey faces: FER2013 under any of its names, and CK+ in that form."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fecnet.prepare.labelled.class_labels import class_indices, is_missing
from fecnet.prepare.labelled.label_files import Dropped, hash_of, levels, read_header, read_table
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.list_columns import find_column, seen_columns
from fecnet.prepare.labelled.split_words import split_name
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

SIDE = 48  # pixels
_SET_WORDS = ("fer", "ck", "ckplus")


@dataclass(frozen=True)
class PixelRow:
    """A row of such a file.

    Attributes:
        line: line number in the file.
        image_HW: uint8, shape (48, 48); None where the pixels are invalid.
        label: as written; empty where there is none.
        split: ``train``, ``public_test``, …; None where the row names none.
    """

    line: int
    image_HW: np.ndarray | None
    label: str
    split: str | None


def find_pixel_files(path: Path, names: Sequence[str]) -> list[Path]:
    """The files to read in a folder, or in folders one or two levels below: those with a column ``pixels``.

    A file with a column ``Usage`` has all splits. Otherwise each file is a split, by its name (``train.csv``).

    Args:
        path: a file, which is returned itself, or a folder; the result is empty where it does not exist.
        names: names of files with all splits, in lower case, the preferred one first.

    Raises:
        DataError: several files could be meant.
    """
    if path.is_file():
        return [path]
    for folders in levels(path):
        found = {file: header for folder in folders for file, header in _tables(folder)}
        if found:
            return _chosen(path, found, names)
    return []


def _tables(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The CSV files with a column ``pixels``, and their columns."""
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() == ".csv" and file.is_file() and not file.name.startswith("."):
            header = read_header(file)
            if "pixels" in header:
                yield file, header


def _chosen(path: Path, found: dict[Path, list[str]], names: Sequence[str]) -> list[Path]:
    whole = [file for file, header in found.items() if "usage" in header]
    known = sorted(
        (file for file in whole if file.name.lower() in names), key=lambda file: names.index(file.name.lower())
    )
    if len(whole) > 1 and known:
        whole = known[:1]
    if len(whole) == 1:
        if len(found) > 1:
            others = ", ".join(file.name for file in found if file != whole[0])
            logger.info("%s: reads %s, which holds all splits; not %s", path, whole[0].name, others)
        return whole
    splits = [_split_of(file) for file in found]
    if whole or (len(found) > 1 and (None in splits or len({*splits}) < len(splits))):
        raise DataError(f"{path}: {', '.join(file.name for file in found)} hold pixels; give one of these files")
    return list(found)


def _split_of(file: Path) -> str | None:
    return split_name(file.stem, _SET_WORDS)  # fer2013_train.csv


def read_pixel_rows(path: Path) -> Iterator[PixelRow]:
    """The rows of a file in order. Without a column ``Usage`` the file's name is the split.

    Raises:
        DataError: no such file, not CSV, or the column ``pixels`` is missing.
    """
    header = read_header(path)
    label = find_column(path, header, "label", documented="emotion")
    of_file = None if "usage" in header else _split_of(path) or ALL
    for line, row in read_table(
        path, [name for name in ("pixels", label, "usage" if of_file is None else None) if name]
    ):
        written = row[label] if label else ""
        yield PixelRow(
            line, _image(row["pixels"]), "" if is_missing(written) else written, of_file or split_name(row["usage"])
        )


def _image(text: str) -> np.ndarray | None:
    try:
        pixels = np.array(text.strip(" [](){}").replace(",", " ").split(), dtype=np.float64)  # "[70, 80.0, …]" too
    except ValueError:
        return None
    if pixels.size != SIDE * SIDE or not ((pixels >= 0) & (pixels <= 255) & (pixels == pixels.round())).all():
        return None
    return pixels.astype(np.uint8).reshape(SIDE, SIDE)


def read_pixel_files(path: Path, files: Sequence[Path], name: str, classes: tuple[str, ...]) -> LabelledSource:
    """The labelled faces of all files; rows without a split, a label or pixels are counted.

    Args:
        path: what the user named, for messages.
        files: from ``find_pixel_files``.
        name: name of the label set.
        classes: names in label order; labels are counted from 0.

    Raises:
        DataError: see ``read_pixel_rows`` and ``class_indices``; or no file has labels.
    """
    rows = [(file, number, row) for file in files for number, row in enumerate(read_pixel_rows(file))]
    if rows and not any(row.label for _, _, row in rows):
        raise DataError(
            f"{files[0]}: no labels, as in the test set of a challenge; seen: {seen_columns(read_header(files[0]))}"
        )
    index = class_indices({row.label for _, _, row in rows}, classes, str(files[0] if len(files) == 1 else path))
    pictures, dropped = [], Dropped()
    for file, number, row in rows:
        if row.split is None:
            dropped.add("unknown", "unknown_split")
        elif row.label not in index:
            dropped.add(row.split, "unknown_label" if row.label else "no_label")
        elif row.image_HW is None:
            dropped.add(row.split, "bad_pixels")
        else:
            pictures.append(LabelledPicture(f"{file.name}#{number}", row.image_HW, index[row.label], row.split))
    return LabelledSource(name, path, classes, pictures, SIDE, "grey", dropped, hash_of(*files))
