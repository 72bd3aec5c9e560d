"""Verifies a packed data set: hashes, shapes, ranges, and consistency between its files.

Shape suffixes: N faces, T triplets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.data.face_rows import face_rows
from fecnet.data.labels import read_labels
from fecnet.data.packed import open_faces, read_description, read_triplets
from fecnet.data.rater_answers import ANSWER_ARRAYS, answer_faults
from fecnet.utils.errors import DataError
from fecnet.utils.files import hash_file, open_array

_TYPE_NAMES = ("one_class", "two_class", "three_class")
_MAX_FAULTS = 20  # reported per file


@dataclass(frozen=True)
class VerificationResult:
    """Result of ``verify_dataset``.

    Attributes:
        num_files: files of the set that exist, including ``dataset.json``.
        num_faces: number of faces according to ``dataset.json``.
        faults: one line each, beginning with the file.
    """

    num_files: int
    num_faces: int
    faults: list[str]


def verify_dataset(folder: str | Path) -> VerificationResult:
    """Check all files of a packed data set; reports every fault, not only the first.

    Memory is bounded by the largest label or triplet file and the keys of the faces.

    Raises:
        DataError: there is no data set, or its ``dataset.json`` is invalid, so that nothing can be checked.
    """
    folder = Path(folder)
    description = read_description(folder)
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()} - {"dataset.json"}
    faults = [*_file_faults(folder, files, description)]
    for name in sorted(files):
        inside: list[str] = []
        try:
            for fault in _content_faults(folder, name, description):
                inside.append(fault)  # one by one, which keeps the faults found before an unreadable row
        except (DataError, OSError) as error:
            inside.append(str(error))
        faults += inside[:_MAX_FAULTS]
        if len(inside) > _MAX_FAULTS:
            faults.append(f"{folder / name}: {len(inside) - _MAX_FAULTS} further faults")
    return VerificationResult(len(files) + 1, description["num_faces"], faults)


def _announced_files(description: dict[str, Any]) -> set[str]:
    """Files that must exist according to ``dataset.json``, apart from its list of hashes."""
    names = {"faces.npy", "faces.csv"}
    for split, parts in description["splits"].items():
        names |= {f"triplets/{split}.npz"} if "triplets" in parts else set()
        names |= {f"labels/{label_set}/{split}.npz" for label_set in parts.get("labels", {})}
    return names


def _file_faults(folder: Path, files: set[str], description: dict[str, Any]) -> Iterator[str]:
    """Files that are missing, unexpected, or modified."""
    announced, recorded = _announced_files(description), description["files"]
    for name in sorted((announced | set(recorded)) - files):
        yield f"{folder / name}: missing"
    for name in sorted(files - set(recorded)):
        yield f"{folder / name}: not a file of this set; dataset.json does not name it"
    for name in sorted(files & set(recorded)):
        try:
            yield from _hash_faults(folder / name, recorded[name])
        except OSError as error:
            yield f"{folder / name}: {error.strerror}"


def _hash_faults(path: Path, expected: Mapping[str, Any]) -> Iterator[str]:
    size = path.stat().st_size
    if size != expected.get("bytes"):
        yield f"{path}: {size} bytes; dataset.json records {expected.get('bytes')}"
    elif (found := hash_file(path)) != expected.get("sha256"):
        yield f"{path}: sha256 {found}; dataset.json records {expected.get('sha256')}"


def _content_faults(folder: Path, name: str, description: dict[str, Any]) -> Iterator[str]:
    """Faults inside one file; raises DataError at a fault that prevents further checks."""
    path, parts = folder / name, Path(name).parts
    if name == "faces.npy":
        open_faces(folder, description)
    elif name == "faces.csv":
        yield from _face_row_faults(folder, description["num_faces"])
    elif parts[0] == "triplets" and len(parts) == 2 and path.suffix == ".npz":
        yield from _triplet_faults(path, description)
    elif parts[0] == "labels" and len(parts) == 3 and path.suffix == ".npz":
        yield from _label_faults(path, description)
    elif len(parts) == 1 and path.suffix == ".npy":
        open_array(path)


def _face_row_faults(folder: Path, num_faces: int) -> Iterator[str]:
    path, num = folder / "faces.csv", 0
    row_of_key: dict[str, int] = {}
    for num, row in enumerate(face_rows(folder), start=1):
        here, key, first = num - 1, row["key"], row["duplicate_of"]
        if not key or not row["source"]:
            yield f"{path}: face {here}: key '{key}', source '{row['source']}'; allowed: neither empty"
        elif row_of_key.setdefault(key, here) != here:
            yield f"{path}: face {here}: key '{key}' is that of face {row_of_key[key]} too"
        if first and not (first.isdecimal() and int(first) < num_faces and int(first) != here):
            yield f"{path}: face {here}: duplicate_of '{first}'; allowed: another face of 0..{num_faces - 1}, or empty"
    if num != num_faces:
        yield f"{path}: {num} rows; dataset.json announces {num_faces} faces"


def _triplet_faults(path: Path, description: dict[str, Any]) -> Iterator[str]:
    arrays = read_triplets(path, description["num_faces"], optional=ANSWER_ARRAYS)
    faces_T3 = arrays["faces"]
    same_T = (faces_T3 == np.roll(faces_T3, 1, axis=1)).any(axis=1)
    if same_T.any():
        bad = int(same_T.argmax())
        yield f"{path}: triplet {bad}: faces {faces_T3[bad].tolist()}; allowed: three different ones"
    if arrays["votes"].min() < 0:
        yield f"{path}: a negative number of votes"
    if any(name in arrays for name in ANSWER_ARRAYS):
        yield from answer_faults(path, arrays)
    counts = dict(zip(_TYPE_NAMES, np.bincount(arrays["type"], minlength=3).tolist(), strict=True))
    announced = description["splits"].get(path.stem, {}).get("triplets")
    if announced != counts:
        yield f"{path}: holds {counts} triplets; dataset.json announces {announced}"


def _label_faults(path: Path, description: dict[str, Any]) -> Iterator[str]:
    label_set, split = path.parent.name, path.stem
    known = description["label_sets"]
    if label_set not in known:
        yield f"{path}: dataset.json names no label set '{label_set}'; it names: {', '.join(known) or 'none'}"
        return
    table = read_labels(path, known[label_set]["classes"], description["num_faces"])
    face, times = np.unique(table.faces_M, return_counts=True)
    if (times > 1).any():
        yield f"{path}: face {face[times.argmax()]} occurs {times.max()} times; allowed: once"
    announced = description["splits"].get(split, {}).get("labels", {}).get(label_set)
    if announced != len(table):
        yield f"{path}: {len(table)} labels; dataset.json announces {announced}"
