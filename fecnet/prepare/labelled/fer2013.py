"""Reads FER2013 with the FERPlus votes from one ``fer2013.npz``, or from the two published CSV files.

Nothing is filtered here, only checked and flagged.

Sources: pixels, labels and splits of the ICML-2013 challenge set (arXiv:1307.0414); votes of ten annotators per face
from github.com/microsoft/FERPlus (arXiv:1608.01041). No licence allows redistributing the pixels.

Shape suffixes: N rows of fer2013.csv, H = W = 48 pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fecnet.prepare.labelled.class_labels import class_indices
from fecnet.prepare.labelled.ferplus_files import read_ferplus_votes
from fecnet.prepare.labelled.pixel_rows import find_pixel_files, read_pixel_rows
from fecnet.prepare.labelled.split_words import split_name
from fecnet.utils.errors import DataError
from fecnet.utils.files import read_arrays
from fecnet.utils.shown import shown

FILE_NAME = "fer2013.npz"
CSV_NAME, PLUS_NAME = "fer2013.csv", "fer2013new.csv"
CSV_NAMES = (CSV_NAME, "icml_face_data.csv")  # files with all splits; the second has other columns, the same rows
IMAGES_SHA256 = "c267d81af4fae7bced50ff1be0ce06f7d14fb05887ece2efe39e04c35f8558b1"  # of the 35,887 decoded images
FER_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FERPLUS_CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
NUM_VOTE_COLUMNS = len(FERPLUS_CLASSES) + 2  # then "unknown" and "not a face"
USAGES = ("train", "public_test", "private_test")  # Training, PublicTest, PrivateTest of fer2013.csv

_STRAY_ROW = 5274  # of the published files, whose votes belong to another image
_BLANK_RANGE = 16  # grey values; the 13 blank images span 0 to 3, all others 48 or more

# name: (dtype kind, shape after N, largest value or None)
_ARRAYS: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    "images_delta": ("u", (48, 48), None),
    "emotion": ("u", (), len(FER_CLASSES) - 1),
    "usage": ("u", (), len(USAGES) - 1),
    "ferplus_votes": ("u", (NUM_VOTE_COLUMNS,), None),
    "ferplus_name": ("S", (), None),
    "ferplus_ok": ("b", (), None),
    "dup_of": ("i", (), None),
    "dup_in_train": ("b", (), None),
    "near_constant": ("b", (), None),
}


@dataclass(frozen=True)
class Fer2013:
    """FER2013 in the row order of fer2013.csv, or the part of it that FERPlus's generator writes.

    Attributes:
        source_N: identifier of each row within the source.
        image_NHW: uint8, shape (N, 48, 48).
        emotion_N: index into ``FER_CLASSES``, shape (N,); None where the source has votes only.
        usage_N: index into ``USAGES``, shape (N,).
        votes_NV: votes for ``FERPLUS_CLASSES``, unknown, not a face: uint8, shape (N, 10).
        named_N: True where FERPlus has an image name for the row, shape (N,).
        joined_N: False where the votes belong to another image, shape (N,).
        duplicate_of_N: first row with the same pixels, shape (N,); the row itself where it is the first.
        in_train_N: True for a test row whose pixels are in Training, shape (N,).
        blank_N: True for an image of nearly constant grey value, shape (N,).
    """

    source_N: tuple[str, ...]
    image_NHW: np.ndarray
    emotion_N: np.ndarray | None
    usage_N: np.ndarray
    votes_NV: np.ndarray
    named_N: np.ndarray
    joined_N: np.ndarray
    duplicate_of_N: np.ndarray
    in_train_N: np.ndarray
    blank_N: np.ndarray


def holds_fer2013(path: Path) -> bool:
    """Whether ``path`` is a file, or a folder with ``fer2013.npz`` or with pixels and votes as two CSV files."""
    if path.is_file() or (path / FILE_NAME).is_file():
        return True
    files = find_pixel_files(path, CSV_NAMES)
    return len(files) == 1 and _find_votes(path, files[0].parent).is_file()


def read_fer2013(source: str | Path, *, images_sha256: str = IMAGES_SHA256) -> Fer2013:
    """Read and validate FER2013.

    Args:
        source: ``fer2013.npz`` or its folder; or a folder with ``fer2013.csv`` or ``icml_face_data.csv`` and
            ``fer2013new.csv``, in it or in its subfolders.
        images_sha256: expected sha256 of the decoded images.

    Raises:
        DataError: no such file, other arrays than those described here, or other images.
    """
    path = Path(source)
    if path.suffix.lower() == ".csv" or (path.is_dir() and not (path / FILE_NAME).is_file()):
        files = find_pixel_files(path, CSV_NAMES)
        if len(files) > 1:
            raise DataError(f"{path}: {', '.join(file.name for file in files)}; allowed: {CSV_NAME}, with all splits")
        if files:
            return _read_csv_files(files[0], _find_votes(path, files[0].parent), images_sha256)
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; give {FILE_NAME} (its arrays are listed in fecnet/prepare/labelled/fer2013.py), a "
            f"folder with it or with {CSV_NAME} and {PLUS_NAME}, or the folders of FERPlus's generator, FER2013Train, …"
        )
    arrays = _load(path)
    # Pixels are stored as differences to their neighbours, which compress better; sums wrap around at 256.
    image_NHW = arrays["images_delta"]
    for axis in (1, 2):
        image_NHW = np.cumsum(image_NHW, axis=axis, dtype=np.uint8)
    _check_images(path, image_NHW, images_sha256)
    return Fer2013(
        source_N=_rows_of_csv(len(image_NHW)),
        image_NHW=image_NHW,
        emotion_N=arrays["emotion"],
        usage_N=arrays["usage"],
        votes_NV=arrays["ferplus_votes"],
        named_N=arrays["ferplus_name"] != b"",
        joined_N=arrays["ferplus_ok"],
        duplicate_of_N=arrays["dup_of"],
        in_train_N=arrays["dup_in_train"],
        blank_N=arrays["near_constant"],
    )


def _find_votes(path: Path, beside: Path) -> Path:
    """The file with the votes: next to the file with the pixels, or one or two folders below the given folder."""
    below = (
        [found for depth in ("*", "*/*") for found in sorted(path.glob(f"{depth}/{PLUS_NAME}"))]
        if path.is_dir()
        else []
    )
    return next((file for file in (beside / PLUS_NAME, path / PLUS_NAME, *below) if file.is_file()), beside / PLUS_NAME)


def _rows_of_csv(number: int) -> tuple[str, ...]:
    return tuple(f"{CSV_NAME}#{row}" for row in range(number))


def _check_images(path: Path, image_NHW: np.ndarray, images_sha256: str) -> None:
    found = hashlib.sha256(image_NHW.tobytes()).hexdigest()
    if found != images_sha256:
        raise DataError(f"{path}: the images have sha256 {found}, expected {images_sha256}: another or a damaged set")


def _read_csv_files(path: Path, plus: Path, images_sha256: str) -> Fer2013:
    """Join the files row by row; the stray row has the votes of another image."""
    rows = list(read_pixel_rows(path))
    index = class_indices({row.label for row in rows}, FER_CLASSES, str(path))
    images, usages = [], []
    for row in rows:
        if row.image_HW is None or row.label not in index or row.split not in USAGES:
            found = (
                f"emotion {row.label or 'none'}, usage {row.split}, pixels {'no' if row.image_HW is None else 'yes'}"
            )
            raise DataError(f"{path}: line {row.line}: {found}; joining row by row needs every row complete")
        images.append(row.image_HW)
        usages.append(USAGES.index(row.split))
    votes_NV, named_N, written = read_ferplus_votes(plus)
    if len(votes_NV) != len(images) or not images:
        raise DataError(f"{plus}: {len(votes_NV)} rows, {path.name} has {len(images)}; they are joined row by row")
    for number, (usage, word) in enumerate(zip(usages, written, strict=True)):
        if split_name(word) != USAGES[usage]:
            raise DataError(
                f"{plus}: row {number}: usage {shown(word)}, {path.name} says {USAGES[usage]}: rows are shifted"
            )
    image_NHW = np.stack(images)
    _check_images(path, image_NHW, images_sha256)
    return describe_rows(
        source_N=_rows_of_csv(len(rows)),
        image_NHW=image_NHW,
        emotion_N=np.array([index[row.label] for row in rows], np.uint8),
        usage_N=np.array(usages, np.uint8),
        votes_NV=votes_NV,
        named_N=named_N,
        joined_N=np.array([images_sha256 != IMAGES_SHA256 or number != _STRAY_ROW for number in range(len(images))]),
    )


def describe_rows(
    *,
    source_N: tuple[str, ...],
    image_NHW: np.ndarray,
    emotion_N: np.ndarray | None,
    usage_N: np.ndarray,
    votes_NV: np.ndarray,
    named_N: np.ndarray,
    joined_N: np.ndarray,
) -> Fer2013:
    """Find duplicates and blank images by the pixels; the arguments are attributes of ``Fer2013``."""
    duplicate_of_N, in_train_N = _find_duplicates(image_NHW, usage_N)
    return Fer2013(
        source_N=source_N,
        image_NHW=image_NHW,
        emotion_N=emotion_N,
        usage_N=usage_N,
        votes_NV=votes_NV,
        named_N=named_N,
        joined_N=joined_N,
        duplicate_of_N=duplicate_of_N,
        in_train_N=in_train_N,
        blank_N=np.ptp(image_NHW.reshape(len(image_NHW), -1), axis=1) < _BLANK_RANGE,
    )


def _find_duplicates(image_NHW: np.ndarray, usage_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row with the same pixels, and whether a test row has the pixels of a row in Training."""
    first: dict[bytes, int] = {}
    keys = [image.tobytes() for image in image_NHW]
    duplicate_of_N = np.array([first.setdefault(key, row) for row, key in enumerate(keys)], np.int32)
    train = {duplicate_of_N[row] for row in np.flatnonzero(usage_N == 0)}
    in_train_N = np.array([usage != 0 and of in train for usage, of in zip(usage_N, duplicate_of_N, strict=True)])
    return duplicate_of_N, in_train_N


def _load(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of ``_ARRAYS`` and check their kind, shape and range."""
    arrays = read_arrays(path, (), optional=tuple(_ARRAYS), kind="readable npz file")
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise DataError(f"{path}: lacks the arrays {', '.join(missing)}; needed are {', '.join(_ARRAYS)}")
    num_rows = arrays["emotion"].size
    for name, (kind, shape, largest) in _ARRAYS.items():
        array = arrays[name]
        if array.dtype.kind != kind or array.shape != (num_rows, *shape):
            expected = f"kind {shown(kind)}, shape {(num_rows, *shape)}"
            raise DataError(f"{path}: {name} is {array.dtype} of shape {array.shape}, expected {expected}")
        if largest is not None and (array > largest).any():
            raise DataError(f"{path}: {name} holds {array.max()}, expected 0..{largest}")
    duplicate_of = arrays["dup_of"]
    if ((duplicate_of < 0) | (duplicate_of > np.arange(num_rows))).any():
        raise DataError(f"{path}: dup_of must name the row itself or an earlier one")
    return arrays
