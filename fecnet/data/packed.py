"""Opens a packed data set: memory-mapped faces, validated triplets and labels. The format is in ``docs/formats.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.data.labels import LabelTable, read_labels
from fecnet.structures import PACKED_FORMAT
from fecnet.utils.errors import DataError, UserError
from fecnet.utils.files import open_array, read_arrays
from fecnet.utils.shown import cut, shown
from fecnet.utils.typed_json import DescribedFile, check_json
from fecnet.utils.versioned import read_versioned

_TRIPLET_ARRAYS = ("faces", "odd", "type", "votes")


@dataclass(frozen=True, kw_only=True)
class _Split:
    """Triplets by type, and labelled faces by label set."""

    triplets: dict[str, int] | None = None
    labels: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class _LabelSet:
    classes: list[str]


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The fields of ``dataset.json`` besides its format, which is checked before; see ``docs/formats.md``."""

    name: str
    num_faces: int
    height: int
    width: int
    channels: list[str]
    splits: dict[str, _Split]
    label_sets: dict[str, _LabelSet]
    sources: dict[str, str]
    coverage: dict[str, Any]
    faces: dict[str, Any]
    files: dict[str, DescribedFile]


DESCRIBED = tuple(field.name for field in fields(_Description))  # required keys of dataset.json besides 'format'
CHANNELS = (["grey"], ["grey", "mask"], ["R", "G", "B"], ["R", "G", "B", "mask"])  # a mask comes last


@dataclass(frozen=True)
class TripletTable:
    """The triplets of one split, as arrays over T triplets.

    Attributes:
        faces_T3: rows of ``faces.npy``, int32, shape (T, 3).
        odd_T: index 0..2 of the odd face, int8, shape (T,).
        type_T: ``TripletType``, int8, shape (T,).
        votes_T3: number of raters who chose face k as the odd one, uint8, shape (T, 3); zeros without votes.
    """

    faces_T3: np.ndarray
    odd_T: np.ndarray
    type_T: np.ndarray
    votes_T3: np.ndarray

    def __len__(self) -> int:
        return len(self.odd_T)


class PackedDataset:
    """A packed data set, opened for reading; data is loaded lazily.

    Args:
        path: the folder.

    Attributes:
        description: ``dataset.json`` without its hashes: the identity of the set.
        files: recorded sha256 and size by file name.
        faces_NHWC: all faces, a memory map.

    Raises:
        DataError: no data set, another format version, or ``faces.npy`` differs from its description.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.description = read_description(self.path)
        # Kept apart from the description, which ranks compare by the content of the set, not by the bytes of its files.
        self.files: dict[str, Any] = self.description.pop("files")
        self.faces_NHWC = open_faces(self.path, self.description)

    @property
    def channels(self) -> list[str]:
        """Channel names in order, such as ``["grey"]``."""
        return list(self.description["channels"])

    @property
    def coverage(self) -> dict[str, Any]:
        """What was read, kept and dropped when the set was prepared."""
        return dict(self.description["coverage"])

    @property
    def faces_sha256(self) -> str:
        """The recorded hash of all pixels."""
        recorded: str = self.files["faces.npy"]["sha256"]
        return recorded

    def triplets(self, split: str) -> TripletTable:
        """The triplets of ``split``.

        Raises:
            DataError: no such split, unreadable file, or values out of range.
        """
        path = self.path / "triplets" / f"{split}.npz"
        if not path.is_file():
            found = sorted(file.stem for file in (self.path / "triplets").glob("*.npz"))
            raise DataError(f"{self.path}: no triplet split '{split}'; there are: {', '.join(found) or 'none'}")
        arrays = read_triplets(path, len(self.faces_NHWC))
        return TripletTable(*(arrays[name] for name in _TRIPLET_ARRAYS))

    def labels(self, label_set: str, split: str) -> LabelTable:
        """The labels of ``split`` in a label set.

        Raises:
            DataError: no such set or split, unreadable file, or values out of range.
        """
        classes = self.classes(label_set)
        path = self.path / "labels" / label_set / f"{split}.npz"
        if not path.is_file():
            found = sorted(file.stem for file in path.parent.glob("*.npz"))
            there = ", ".join(found) or "none"
            raise DataError(f"{self.path}: no split '{split}' in label set '{label_set}'; there are: {there}")
        return read_labels(path, classes, len(self.faces_NHWC))

    def classes(self, label_set: str) -> tuple[str, ...]:
        """Class names of a label set, in label order.

        Raises:
            DataError: no such set.
        """
        known = self.description["label_sets"]
        if label_set not in known:
            there = ", ".join(known) or "none"
            raise DataError(
                f"{self.path}: no label set '{label_set}'; there are: {there}; to make one, see: fecnet prepare --help"
            )
        return tuple(known[label_set]["classes"])

    def array(self, name: str) -> np.ndarray | None:
        """An additional array of the set, such as ``expression`` of synthetic faces, or None.

        Raises:
            DataError: unreadable or truncated.
        """
        path = self.path / f"{name}.npy"
        return open_array(path, in_memory=True) if path.is_file() else None


def read_description(folder: Path) -> dict[str, Any]:
    """Read and validate ``dataset.json``.

    Raises:
        DataError: no data set, unreadable, or another format version.
    """
    file = folder / "dataset.json"
    if not file.is_file():
        raise DataError(f"{folder}: no packed data set here (no dataset.json); make one with: fecnet prepare")
    description = read_versioned(file, "a data set description", PACKED_FORMAT, DataError)
    lacking = [key for key in DESCRIBED if key not in description]
    if lacking:
        raise DataError(f"{file}: not a data set description: lacks {', '.join(lacking)}")
    files = description["files"]
    recorded = files.get("faces.npy") if isinstance(files, dict) else None
    if not isinstance(recorded, dict) or not isinstance(recorded.get("sha256"), str):
        raise DataError(f"{file}: 'files' holds no sha256 of faces.npy; prepare the set again")
    if description["channels"] not in CHANNELS:
        allowed = " or ".join(map(str, CHANNELS))
        raise DataError(f"{file}: channels {cut(str(description['channels']))}; allowed: {allowed}")
    try:
        check_json(_Description, description, str(file))
    except UserError as error:
        raise DataError(str(error)) from error
    for key in ("num_faces", "height", "width"):
        if description[key] < 0:
            raise DataError(f"{file}: '{key}' is {shown(description[key])}; allowed: a whole number, 0 or more")
    return description


def open_faces(folder: Path, description: dict[str, Any]) -> np.ndarray:
    """``faces.npy`` as a memory map.

    Raises:
        DataError: unreadable, truncated, or different from ``description``.
    """
    file = folder / "faces.npy"
    faces = open_array(file)
    keys = ("num_faces", "height", "width")
    announced = (*(description[key] for key in keys), len(description["channels"]))
    if faces.dtype != np.uint8 or faces.shape != announced:
        raise DataError(f"{file}: holds {faces.dtype} {faces.shape}; dataset.json announces uint8 {announced}")
    return faces


def read_triplets(path: Path, num_faces: int, optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """``faces``, ``odd``, ``type`` and ``votes`` of a triplet file, validated, and the ``optional`` arrays that it has.

    Raises:
        DataError: unreadable, shapes that do not fit, or values out of range.
    """
    arrays = read_arrays(path, _TRIPLET_ARRAYS, optional=optional, kind="triplet file")
    faces, odd, kind, votes = (arrays[name] for name in _TRIPLET_ARRAYS)
    num = odd.size
    if [array.shape for array in (faces, odd, kind, votes)] != [(num, 3), (num,), (num,), (num, 3)] or not num:
        shapes = f"{faces.shape}, {odd.shape}, {kind.shape}, {votes.shape}"
        raise DataError(f"{path}: shapes {shapes}; expected (T, 3), (T,), (T,), (T, 3) with at least one triplet")
    if any(array.dtype.kind not in "iu" for array in (faces, odd, kind, votes)):
        raise DataError(f"{path}: arrays must hold whole numbers")
    for name, values, limit in (("faces", faces, num_faces), ("odd", odd, 3), ("type", kind, 3)):
        if not 0 <= values.min() <= values.max() < limit:
            bad = np.flatnonzero((values < 0) | (values >= limit))[0] // (values.size // len(values))
            raise DataError(f"{path}: triplet {bad}: '{name}' is {values[bad].tolist()}; allowed: 0..{limit - 1}")
    return arrays
