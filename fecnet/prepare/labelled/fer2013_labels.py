"""Reads FER2013 with its published labels: ``fer2013.csv``, the Kaggle folders, or ``fer2013.npz``."""

from __future__ import annotations

from pathlib import Path

from fecnet.prepare.labelled.class_folders import read_class_folders
from fecnet.prepare.labelled.fer2013 import CSV_NAME, FER_CLASSES, FILE_NAME, IMAGES_SHA256, USAGES, read_fer2013
from fecnet.prepare.labelled.fer2013_csv import SIDE, read_fer2013_rows
from fecnet.prepare.labelled.label_files import Dropped, hash_of
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.utils.errors import DataError


def read_fer2013_labels(path: Path) -> LabelledSource:
    """Read FER2013 in any of the layouts; 48×48 grayscale.

    The files have splits ``train``, ``public_test`` and ``private_test``. The Kaggle folders have ``train`` and
    ``test``, which joins both test splits.

    Raises:
        DataError: none of the layouts, or damaged.
    """
    if path.suffix == ".npz" or (path / FILE_NAME).is_file():
        return _read_npz(path)
    if path.suffix == ".csv" or (path / CSV_NAME).is_file():
        return _read_csv(path / CSV_NAME if path.is_dir() else path)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; expected: {CSV_NAME}, {FILE_NAME}, or train and test folders")
    return read_class_folders(path, "fer", size=SIDE, channels="grey", classes=FER_CLASSES, numbers=0)


def _read_npz(path: Path) -> LabelledSource:
    fer = read_fer2013(path)
    rows = zip(fer.image_NHW, fer.emotion_N.tolist(), fer.usage_N.tolist(), strict=True)
    pictures = [
        LabelledPicture(f"{CSV_NAME}#{row}", image, emotion, USAGES[usage])
        for row, (image, emotion, usage) in enumerate(rows)
    ]
    provenance = {f"{FILE_NAME}: sha256 of the images": IMAGES_SHA256}
    return LabelledSource("fer", path, FER_CLASSES, pictures, SIDE, "grey", provenance=provenance)


def _read_csv(path: Path) -> LabelledSource:
    pictures, dropped = [], Dropped()
    for number, row in enumerate(read_fer2013_rows(path)):
        if row.split is None:
            dropped.add("unknown", "unknown_split")
        elif row.emotion is None:
            dropped.add(row.split, "unknown_label")
        elif row.image_HW is None:
            dropped.add(row.split, "bad_pixels")
        else:
            pictures.append(LabelledPicture(f"{CSV_NAME}#{number}", row.image_HW, row.emotion, row.split))
    return LabelledSource("fer", path, FER_CLASSES, pictures, SIDE, "grey", dropped, hash_of(path))
