"""An index on disk: vectors, the source of each, and the index of faiss. The format is in ``docs/formats.md``.

Shape suffixes: N vectors, Q queries, K nearest, D numbers of each vector.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fecnet.embed.embedding_files import BOX, box_cells
from fecnet.embed.shards import Rows
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.evaluation.nearest import Found, nearest
from fecnet.faces.which import Which
from fecnet.nets.shipped import shipped_names
from fecnet.search.copies import Copies
from fecnet.search.kinds import FLAT, KINDS, SPARE, choose_kind, find_faiss, read_faiss, write_faiss
from fecnet.utils.errors import UserError
from fecnet.utils.files import hash_file, named_errors, open_array, replace_json, whole_or_absent
from fecnet.utils.shown import shown
from fecnet.utils.typed_json import DescribedFile, check_json
from fecnet.utils.versioned import read_versioned

logger = logging.getLogger(__name__)

FORMAT = 1
COLUMNS = ("name", "frame", "time_s", *BOX)  # columns of names.csv; frame of a video, or row of a packed set
DESCRIPTION, VECTORS, NAMES, FAISS = "index.json", "vectors.npy", "names.csv", "nearest.faiss"
_BATCH = 1024  # queries processed at a time


class Name(NamedTuple):
    """The source of a vector.

    Attributes:
        file: photo, packed set or video, as it was given.
        number: row of the packed set or frame of the video; -1 for a photo.
        time_s: time in the video, seconds; NaN for other sources.
        box: box of the face in the picture, x1, y1, x2, y2 in pixels; empty where nothing was detected.
    """

    file: str
    number: int
    time_s: float
    box: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Model:
    name: str
    identity: str


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The fields of ``index.json`` that are used, besides its format and kind, which are checked before."""

    num: int
    dims: int
    model: _Model
    faces: Which
    folder: str
    packed: dict[str, str]
    files: dict[str, DescribedFile]
    sources: list[str] | None = None
    left_out: dict[str, int] | None = None


_KEYS = ("kind", *(field.name for field in fields(_Description) if field.default is MISSING))


def is_index_alone(path: Path) -> bool:
    """Whether a folder is an index and contains nothing else."""
    files = {DESCRIPTION, VECTORS, NAMES, FAISS}
    return (path / DESCRIPTION).is_file() and not path.is_symlink() and {file.name for file in path.iterdir()} <= files


def write_index(path: Path, rows: Iterable[Rows], num: int, dims: int, kind: str, about: dict[str, Any]) -> Copies:
    """Write an index folder atomically, replacing an existing one.

    Args:
        path: the folder.
        rows: pictures in order; those without a face are left out.
        num: N, those with a face.
        dims: D.
        kind: ``auto``, ``flat``, ``ivf``, ``hnsw`` or ``pq``.
        about: further fields of ``index.json``: ``model``, ``faces``, ``folder``, ``packed`` and more.

    Returns:
        Its identical vectors.

    Raises:
        UserError: the kind cannot be built.
        OSError: the disk is full or read-only.
    """
    kind = choose_kind(kind, num)
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(path), whole_or_absent(path) as folder:
        folder.mkdir()
        _write_vectors(folder, rows, num, dims)
        vector_ND = open_array(folder / VECTORS)
        copies = Copies(vector_ND)
        if kind in KINDS:
            write_faiss(kind, np.asarray(vector_ND)[copies.first_U], folder / FAISS)
        files = {
            file.name: {"sha256": hash_file(file), "bytes": file.stat().st_size} for file in sorted(folder.iterdir())
        }
        replace_json(
            folder / DESCRIPTION,
            {"format": FORMAT, "kind": kind, "num": num, "dims": dims, **about, "files": files},
        )
    return copies


def _write_vectors(folder: Path, rows: Iterable[Rows], num: int, dims: int) -> None:
    """Both tables, from a stream."""
    with (
        (folder / VECTORS).open("wb") as vectors,
        (folder / NAMES).open("w", newline="", encoding="utf-8", errors="surrogateescape") as names,
    ):
        np.lib.format.write_array_header_1_0(vectors, {"descr": "<f4", "fortran_order": False, "shape": (num, dims)})
        writer = csv.writer(names)
        writer.writerow(COLUMNS)
        for some in rows:
            kept = np.flatnonzero(some.status == OK)
            wrong = kept[~np.isfinite(some.vector_ND[kept]).all(1)]
            if len(wrong):
                raise UserError(
                    f"{some.name[wrong[0]]}: its vector is not finite: the net is broken; evaluate it first"
                )
            vectors.write(np.ascontiguousarray(some.vector_ND[kept], "<f4").tobytes())
            columns = (some.name, some.number, some.time_s, some.box_N4)
            for name, number, time_s, box_4 in zip(*(column[kept] for column in columns), strict=True):
                place = ["" if number < 0 else number, "" if np.isnan(time_s) else f"{time_s:.3f}"]
                writer.writerow([name, *place, *box_cells(box_4)])


class Index:
    """An index folder, opened for searching.

    Args:
        path: the folder.
        device: device of the search.
        exact: exhaustive search for any kind. faiss then reads no file, so use this for an index from an untrusted
            source.

    Attributes:
        description: ``index.json``.
        kind: the type of index.
        vector_ND: all vectors, float32, mapped from the disk.
        faces: which faces of its pictures it contains, see ``Encoder``.

    Raises:
        UserError: no index, another format version, or files that are damaged or do not fit together.
    """

    def __init__(self, path: str | Path, *, device: torch.device | None = None, exact: bool = False) -> None:
        self.path = Path(path)
        self.description = _description(self.path)
        self._device = device or torch.device("cpu")
        self.kind = FLAT if exact else str(self.description["kind"])
        self.faces: Which = self.description["faces"]
        _check_files(self.path, self.description["files"], (VECTORS, NAMES, *([FAISS] if self.kind in KINDS else [])))
        self.vector_ND = np.asarray(open_array(self.path / VECTORS))
        announced = (self.description["num"], self.description["dims"])
        if self.vector_ND.dtype != np.float32 or self.vector_ND.shape != announced:
            held = f"{self.vector_ND.dtype} {self.vector_ND.shape}"
            raise UserError(f"{self.path / VECTORS}: holds {held}; {DESCRIPTION} announces float32 {announced}")
        if not self.vector_ND.flags.c_contiguous:
            raise UserError(f"{self.path / VECTORS}: column by column; allowed: row by row; rebuild the index")

    def __len__(self) -> int:
        return len(self.vector_ND)

    @property
    def model(self) -> str:
        """The name of the net that the index was built with."""
        return str(self.description["model"]["name"])

    @property
    def net(self) -> str:
        """The path of that checkpoint, or the name of a shipped net."""
        return self.model if self.model in shipped_names() else str(Path(self.description["folder"], self.model))

    def check_model(self, encoder: Encoder) -> None:
        """Raise UserError unless the index was built with the same net and preprocessing."""
        built = self.description["model"]["identity"]
        if encoder.identity != built:
            raise UserError(
                f"{self.path}: built with {self.model} ({built}); {encoder.name} is another net ({encoder.identity}); "
                "distances between the two are meaningless; give the net it was built with, or rebuild the index"
            )

    def search(self, query_QD: np.ndarray, num: int) -> Found:
        """The nearest vectors of each query, by exact squared Euclidean distance.

        Kinds other than ``flat`` may miss some of the nearest; no vector is returned twice.

        Args:
            query_QD: float, shape (Q, D).
            num: number of neighbours; all vectors if there are fewer.

        Raises:
            UserError: queries of another dimension or not finite, or ``num`` below 1.
        """
        query_QD = np.asarray(query_QD, np.float32)
        if query_QD.ndim != 2 or query_QD.shape[1] != self.vector_ND.shape[1]:
            wanted = f"(Q, {self.vector_ND.shape[1]})"
            raise UserError(f"queries of shape {query_QD.shape}; {self.path} expects {wanted}, as its vectors")
        if not np.isfinite(query_QD).all():
            raise UserError(f"query {int((~np.isfinite(query_QD)).any(1).argmax())}: not finite: there is no face")
        if num < 1:
            raise UserError(f"k: {num}; allowed: 1 or more")
        num = min(num, len(self))
        starts = range(0, max(1, len(query_QD)), _BATCH)
        parts = [self._search(query_QD[first : first + _BATCH], num) for first in starts]
        return Found(*map(np.concatenate, zip(*parts, strict=True)))

    def _search(self, query_QD: np.ndarray, num: int) -> Found:
        if self._faiss is None:
            return nearest(self.vector_ND, query_QD, num, self._device)
        wanted = min(KINDS[self.kind].candidates * num + SPARE, self._faiss.ntotal)
        _, distinct_QR = self._faiss.search(np.ascontiguousarray(query_QD), wanted)
        whole_Q = (distinct_QR >= 0).all(1)  # false where the searched lists have fewer vectors
        found = Found(np.empty((len(query_QD), num), np.int64), np.empty((len(query_QD), num), np.float32))
        for part_Q, some in (
            (whole_Q, self._copies.nearest(self.vector_ND, query_QD[whole_Q], distinct_QR[whole_Q], num)),
            (~whole_Q, nearest(self.vector_ND, query_QD[~whole_Q], num, self._device)),
        ):
            found.row_QK[part_Q], found.distance_QK[part_Q] = some
        return found

    @cached_property
    def _copies(self) -> Copies:
        return Copies(self.vector_ND)

    @cached_property
    def _faiss(self) -> Any | None:
        """The index of faiss; None for exhaustive search."""
        if self.kind not in KINDS:
            return None
        if find_faiss() is None:
            logger.info(f"{self.path}: faiss is not installed: exhaustive search instead of {self.kind}")
            return None
        shape = (len(self._copies.first_U), self.vector_ND.shape[1])
        return read_faiss(self.kind, shape, self.path / FAISS, self._device)

    def names(self, rows: Iterable[int]) -> dict[int, Name]:
        """The sources of the vectors in some rows.

        Raises:
            UserError: the table is damaged.
        """
        wanted = set(rows)
        return {row: name for row, name in enumerate(self.every_name()) if row in wanted}

    def every_name(self) -> Iterator[Name]:
        """The source of each vector, in order.

        Raises:
            UserError: the table is damaged.
        """
        path = self.path / NAMES
        number = 0
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                for number, row in enumerate(csv.reader(file)):
                    if number:
                        yield _name(row, f"{path}: line {number + 1}")
        except csv.Error as error:
            raise UserError(f"{path}: line {number + 2}: not {', '.join(COLUMNS)}: {error}") from error
        if number != len(self):
            raise UserError(f"{path}: {number} names for {len(self)} vectors")


def name_of(rows: Rows, row: int) -> Name:
    """The source of one row of ``Rows``."""
    return Name(str(rows.name[row]), int(rows.number[row]), float(rows.time_s[row]), box_of(rows.box_N4[row]))


def box_of(box_4: np.ndarray) -> tuple[float, ...]:
    """A box of ``Rows`` in the form of ``Name``."""
    return () if np.isnan(box_4).any() else tuple(box_4.tolist())


def _name(row: list[str], place: str) -> Name:
    if len(row) != len(COLUMNS):
        raise UserError(f"{place}: {len(row)} values; expected {', '.join(COLUMNS)}")
    try:
        number, time_s, *box = int(row[1] or -1), *(float(cell or "nan") for cell in row[2:])
    except ValueError as error:
        raise UserError(f"{place}: not {', '.join(COLUMNS)}: {error}") from error
    return Name(row[0], int(number), time_s, box_of(np.array(box)))


def _description(path: Path) -> dict[str, Any]:
    file = path / DESCRIPTION
    if not file.is_file():
        raise UserError(f"{path}: no index here (no {DESCRIPTION}); make one with: fecnet search build")
    description = read_versioned(file, "a description of an index", FORMAT, UserError)
    lacking = [key for key in _KEYS if key not in description]
    if lacking:
        raise UserError(f"{file}: not a description of an index: lacks {', '.join(lacking)}")
    if str(description["kind"]) not in (FLAT, *KINDS):
        raise UserError(f"{file}: kind {shown(description['kind'])}; allowed: {FLAT}, {', '.join(KINDS)}")
    check_json(_Description, description, str(file))
    return description


def _check_files(path: Path, files: dict[str, Any], needed: Iterable[str]) -> None:
    """Raise UserError if a file is not the one that was written: faiss must not read a damaged one."""
    for name in needed:
        if name not in files or not (path / name).is_file():
            raise UserError(f"{path / name}: missing, or not described in {DESCRIPTION}; rebuild the index")
        if hash_file(path / name) != files[name]["sha256"]:
            raise UserError(f"{path / name}: not the file that was written: its checksum differs; rebuild the index")
