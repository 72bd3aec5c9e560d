"""Reads CK+, the last three frames of each labelled sequence: as published, as CK+48 folders, or as ``ckplus48.npz``.

Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)". There is no official split: all faces are in split ``all``.
Frames of a sequence are nearly identical, so evaluation needs a split by subject.

``ckextended.csv`` is another extract: 920 faces as pixels, with neutral ones, in eight classes and three random splits.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from fecnet.faces.picture_files import is_picture
from fecnet.prepare.labelled.class_folders import read_class_folders
from fecnet.prepare.labelled.label_files import Dropped, hash_of, picture_name, subfolders
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.picture_tree import read_tree
from fecnet.prepare.labelled.pixel_rows import find_pixel_files, read_pixel_files
from fecnet.utils.class_words import find_class
from fecnet.utils.errors import DataError
from fecnet.utils.files import read_arrays

logger = logging.getLogger(__name__)

CKPLUS_CLASSES = ("anger", "disgust", "fear", "happy", "sadness", "surprise", "contempt")
CSV_CLASSES = (
    "anger",
    "disgust",
    "fear",
    "happy",
    "sadness",
    "surprise",
    "neutral",
    "contempt",
)  # 0..7 of the CSV, and copies with neutral
FILE_NAME, CSV_NAME = "ckplus48.npz", "ckextended.csv"
_CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")  # of *_emotion.txt
_FRAMES = 3  # the last frames show the peak expression
_NAME = re.compile(r"(S\d+)_(\d+)_(\d+)\.\w+$")  # S010_004_00000017.png: subject, sequence, frame


def read_ckplus(path: Path) -> LabelledSource:
    """Read CK+ in any of the layouts.

    Raises:
        DataError: none of the layouts, or damaged.
    """
    if path.suffix == ".npz" or (path / FILE_NAME).is_file():
        return _read_npz(path / FILE_NAME if path.is_dir() else path)
    images = _folder(path, "cohn-kanade-images")
    if images is not None:
        return _read_published(path, images)
    if files := find_pixel_files(path, (CSV_NAME,)):
        logger.info("%s: no subjects in it: faces of a person may be in several splits", files[0])
        return read_pixel_files(path, files, "ckplus", CSV_CLASSES)
    words = {part for parts in read_tree(path).pictures for part in parts[:-1]}
    classes = CSV_CLASSES if find_class("neutral", [*words]) is not None else CKPLUS_CLASSES
    source = read_class_folders(path, "ckplus", size=48, channels="grey", classes=classes)
    return replace(source, pictures=[_with_subject(picture) for picture in source.pictures])


def _folder(path: Path, name: str) -> Path | None:
    """The folder of that name in ``path``, or one level below, where each archive was unpacked into its own folder."""
    return next((found for found in [path / name, *sorted(path.glob(f"*/{name}"))] if found.is_dir()), None)


def _with_subject(picture: LabelledPicture) -> LabelledPicture:
    """Add subject and sequence from the file name, where it has the published form."""
    found = _NAME.search(picture.source)
    if not found:
        return picture
    return replace(picture, subject=found[1], sequence=f"{found[1]}_{found[2]}")


def _read_npz(path: Path) -> LabelledSource:
    """``images`` uint8 (N, H, W), ``label`` (N,) into ``classes``, ``filename`` as in the CK+48 folders."""
    names = ("images", "label", "classes", "filename")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    arrays = read_arrays(path, names, kind="CK+48 file")
    images, label, classes, filename = (arrays[name] for name in names)
    if images.dtype != np.uint8 or images.ndim != 3 or not label.shape == filename.shape == (len(images),):
        raise DataError(
            f"{path}: images is {images.dtype} {images.shape}, label {label.shape}; expected uint8 (N, H, W)"
        )
    if label.dtype.kind not in "iu" or classes.ndim != 1 or {classes.dtype.kind, filename.dtype.kind} != {"U"}:
        kinds = f"{label.dtype}, {classes.dtype} {classes.shape}, {filename.dtype}"
        raise DataError(f"{path}: label, classes, filename are {kinds}; expected integers, strings (K,), strings")
    pictures, dropped = [], Dropped()
    for image, number, name in zip(images, label.tolist(), filename.tolist(), strict=True):
        word = classes[number] if 0 <= number < len(classes) else ""
        if word in CKPLUS_CLASSES:
            pictures.append(_with_subject(LabelledPicture(name, image, CKPLUS_CLASSES.index(word), ALL)))
        else:
            dropped.add(ALL, "unknown_label")
    return LabelledSource("ckplus", path, CKPLUS_CLASSES, pictures, images.shape[1], "grey", dropped, hash_of(path))


def _read_published(path: Path, images: Path) -> LabelledSource:
    """``cohn-kanade-images/S005/001/*.png`` with ``Emotion/S005/001/*_emotion.txt``; whole frames, not cropped.

    Sequences without a label are counted with three frames each; other frames are ignored.
    """
    emotions = _folder(path, "Emotion")
    if emotions is None:
        raise DataError(f"{path}: no folder Emotion beside {images.name}")
    pictures, dropped = [], Dropped()
    sequences = {(of.parent.name, of.name) for of in images.glob("*/*")}
    for file in emotions.glob("*/*/*_emotion.txt"):
        if (file.parent.parent.name, file.parent.name) not in sequences:
            dropped.add(ALL, "missing_file")
    for subject in subfolders(images):
        for sequence in subfolders(subject):
            frames = sorted(file for file in sequence.iterdir() if is_picture(file) and file.name[0] != ".")[-_FRAMES:]
            label = _emotion(emotions / subject.name / sequence.name)
            if isinstance(label, str):
                dropped[ALL][label] += len(frames)
                continue
            for frame in frames:
                name = picture_name(frame, images)
                sequence_name = f"{subject.name}_{sequence.name}"
                pictures.append(LabelledPicture(name, frame, label, ALL, subject.name, sequence_name))
    return LabelledSource("ckplus", path, CKPLUS_CLASSES, pictures, 128, "grey", dropped)


def _emotion(folder: Path) -> int | str:
    """The class of a sequence, or the reason why there is none. The file has one number such as ``3.0000000e+00``."""
    file = next(iter(sorted(folder.glob("*_emotion.txt"))), None)
    if file is None:
        return "no_emotion_label"
    try:
        code = float(file.read_text(encoding="utf-8-sig"))
    except ValueError:  # includes UnicodeDecodeError
        return "unknown_label"
    word = _CODES[int(code)] if code in range(len(_CODES)) else ""
    return CKPLUS_CLASSES.index(word) if word in CKPLUS_CLASSES else "unknown_label"
