"""Reads FER2013 with its published labels: CSV files of pixels, the Kaggle folders, or ``fer2013.npz``."""

from __future__ import annotations

from pathlib import Path

from fecnet.prepare.labelled.class_folders import read_class_folders
from fecnet.prepare.labelled.fer2013 import (
    CSV_NAME,
    CSV_NAMES,
    FER_CLASSES,
    FILE_NAME,
    IMAGES_SHA256,
    USAGES,
    read_fer2013,
)
from fecnet.prepare.labelled.ferplus_folders import find_ferplus_lists
from fecnet.prepare.labelled.label_files import read_header
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.prepare.labelled.list_columns import seen_columns
from fecnet.prepare.labelled.picture_tree import scan_tree
from fecnet.prepare.labelled.pixel_rows import SIDE, find_pixel_files, read_pixel_files
from fecnet.utils.errors import DataError


def read_fer2013_labels(path: Path) -> LabelledSource:
    """Read FER2013 in any of the layouts; 48×48 grayscale.

    Files with all splits have ``train``, ``public_test`` and ``private_test``; files of the challenge without a column
    ``Usage`` (``train.csv``) are splits by their name. The Kaggle folders have ``train`` and ``test``, which joins both
    test splits.

    Raises:
        DataError: none of the layouts, or damaged.
    """
    if path.suffix == ".npz" or (path / FILE_NAME).is_file():
        return _read_npz(path)
    if files := find_pixel_files(path, CSV_NAMES):
        return read_pixel_files(path, files, "fer", FER_CLASSES)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; expected: {CSV_NAME}, {FILE_NAME}, or train and test folders")
    if find_ferplus_lists(path):
        raise DataError(
            f"{path}: FERPlus, which has votes but no labels of FER2013; read it by 'fecnet prepare ferplus'"
        )
    if not scan_tree(path).pictures and (tables := [file for file in sorted(path.glob("*.csv")) if file.is_file()]):
        seen = seen_columns(read_header(tables[0]))
        raise DataError(f"{tables[0]}: no column pixels; seen: {seen}; allowed: emotion, pixels, Usage")
    return read_class_folders(path, "fer", size=SIDE, channels="grey", classes=FER_CLASSES, numbers=0)


def _read_npz(path: Path) -> LabelledSource:
    fer = read_fer2013(path)
    assert fer.emotion_N is not None
    rows = zip(fer.source_N, fer.image_NHW, fer.emotion_N.tolist(), fer.usage_N.tolist(), strict=True)
    pictures = [LabelledPicture(name, image, emotion, USAGES[usage]) for name, image, emotion, usage in rows]
    provenance = {f"{FILE_NAME}: sha256 of the images": IMAGES_SHA256}
    return LabelledSource("fer", path, FER_CLASSES, pictures, SIDE, "grey", provenance=provenance)
