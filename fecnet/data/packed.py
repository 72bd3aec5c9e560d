"""Opens a packed data set: faces as a memory map, triplets checked. The layout is in ``docs/formats.md``."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.structures import PACKED_FORMAT

CHANNELS = (["grey"], ["grey", "mask"], ["R", "G", "B"], ["R", "G", "B", "mask"])  # a mask is last: no colour


@dataclass(frozen=True)
class TripletTable:
    """The triplets of one split, as arrays over T triplets.

    Attributes:
        faces_T3: rows of ``faces.npy``, int32, shape (T, 3).
        odd_T: place 0..2 of the odd face, int8, shape (T,).
        type_T: ``TripletType``, int8, shape (T,).
        votes_T3: raters who called face k the odd one, uint8, shape (T, 3); zeros where there were no raters.
    """

    faces_T3: np.ndarray
    odd_T: np.ndarray
    type_T: np.ndarray
    votes_T3: np.ndarray

    def __len__(self) -> int:
        return len(self.odd_T)


class PackedDataset:
    """A packed data set, opened for reading; nothing is loaded before it is asked for.

    Args:
        path: the folder.

    Raises:
        ValueError: no data set, another format version, or ``faces.npy`` that does not hold what is announced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.description = self._read_description()
        self.faces_NHWC = self._open_faces()

    @property
    def channels(self) -> list[str]:
        """Channel names in order, such as ``["grey"]``."""
        return list(self.description["channels"])

    @property
    def coverage(self) -> dict[str, Any]:
        """What was read, kept and dropped when the set was made."""
        return dict(self.description.get("coverage", {}))

    def triplets(self, split: str) -> TripletTable:
        """The triplets of ``split``.

        Raises:
            ValueError: no such split, unreadable file, or values out of range.
        """
        path = self.path / "triplets" / f"{split}.npz"
        if not path.is_file():
            found = sorted(file.stem for file in (self.path / "triplets").glob("*.npz"))
            raise ValueError(f"{self.path}: no triplet split '{split}'; there are: {', '.join(found) or 'none'}")
        names = ("faces", "odd", "type", "votes")
        try:
            with np.load(path, allow_pickle=False) as file:
                faces, odd, kind, votes = (file[name] for name in names)
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a triplet file with arrays {', '.join(names)}: {error}") from error
        self._check_triplets(path, faces, odd, kind, votes)
        return TripletTable(faces, odd, kind, votes)

    def array(self, name: str) -> np.ndarray | None:
        """A further array of the set, such as ``expression`` of the synthetic faces, or None."""
        path = self.path / f"{name}.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def _read_description(self) -> dict[str, Any]:
        file = self.path / "dataset.json"
        if not file.is_file():
            raise ValueError(f"{self.path}: no packed data set here (no dataset.json); make one with: fecnet prepare")
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
            version = description["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}: not a data set description: {error}") from error
        if version != PACKED_FORMAT:
            raise ValueError(f"{file}: format {version!r}; this version reads {PACKED_FORMAT}; prepare the set anew")
        lacking = [
            key for key in ("name", "num_faces", "height", "width", "channels", "sources") if key not in description
        ]
        if lacking:
            raise ValueError(f"{file}: not a data set description: lacks {', '.join(lacking)}")
        if description["channels"] not in CHANNELS:
            allowed = " or ".join(map(str, CHANNELS))
            raise ValueError(f"{file}: channels {description['channels']}; allowed: {allowed}")
        return description

    def _open_faces(self) -> np.ndarray:
        file = self.path / "faces.npy"
        try:
            faces = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{file}: unreadable or truncated: {error}") from error
        keys = ("num_faces", "height", "width")
        announced = (*(self.description[key] for key in keys), len(self.description["channels"]))
        if faces.dtype != np.uint8 or faces.shape != announced:
            raise ValueError(f"{file}: holds {faces.dtype} {faces.shape}; dataset.json announces uint8 {announced}")
        return faces

    def _check_triplets(
        self, path: Path, faces: np.ndarray, odd: np.ndarray, kind: np.ndarray, votes: np.ndarray
    ) -> None:
        num = len(faces)
        if [array.shape for array in (faces, odd, kind, votes)] != [(num, 3), (num,), (num,), (num, 3)] or not num:
            shapes = f"{faces.shape}, {odd.shape}, {kind.shape}, {votes.shape}"
            raise ValueError(f"{path}: shapes {shapes}; expected (T, 3), (T,), (T,), (T, 3) with at least one triplet")
        if any(array.dtype.kind not in "iu" for array in (faces, odd, kind, votes)):
            raise ValueError(f"{path}: arrays must hold whole numbers")
        for name, values, limit in (("faces", faces, len(self.faces_NHWC)), ("odd", odd, 3), ("type", kind, 3)):
            if not 0 <= values.min() <= values.max() < limit:
                bad = np.flatnonzero((values < 0) | (values >= limit))[0] // (values.size // len(values))
                raise ValueError(f"{path}: triplet {bad}: '{name}' is {values[bad].tolist()}; allowed: 0..{limit - 1}")
