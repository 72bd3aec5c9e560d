"""Packs annotated triplets: Google's FEC from its files and the web, or a list with a folder of images.

Sources: arXiv:1811.11283 for the files; `annotations.py` reads them, `download.py` downloads the photos,
`extraction.py` extracts the faces. Intermediate results are kept in ``<path>.work``, so an interrupted run resumes.

Shape suffixes: F faces, T triplets; edges of a box are left, right, top, bottom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from fecnet.faces.picture_files import decoder_hint
from fecnet.faces.picture_lists import system_path
from fecnet.faces.recipe import FaceRecipe
from fecnet.prepare.annotations import read_annotations, read_crops
from fecnet.prepare.extraction import Extraction, FaceShards, PhotoFaces, face_record
from fecnet.prepare.triplet_lists import read_lists
from fecnet.prepare.triplet_rows import Annotations
from fecnet.prepare.web.download import fetch_photos
from fecnet.prepare.web.journal import FolderLock
from fecnet.prepare.web.photo_store import PhotoStore
from fecnet.prepare.work import check_sources
from fecnet.prepare.writer import PackedWriter, check_target, face_key
from fecnet.utils.errors import DataError
from fecnet.utils.files import hash_file

_TRIPLET_TYPES = ("one_class", "two_class", "three_class")


@dataclass(frozen=True)
class Faces:
    """The distinct faces of all splits.

    Attributes:
        sources: the distinct photos: URLs, or paths relative to a folder.
        photo_F: index into ``sources``.
        box_F4: fractions of width and height; NaN for the whole image.
        of_split: for each split, indices of its faces here.
    """

    sources: list[str]
    photo_F: np.ndarray
    box_F4: np.ndarray
    of_split: dict[str, np.ndarray]

    def key(self, face: int) -> str:
        """The face's identity, ``face_key`` of its photo and box."""
        box = self.box_F4[face]
        return face_key(self.sources[self.photo_F[face]], () if np.isnan(box[0]) else box.tolist())


def prepare_fec(
    files: Mapping[str, str | Path],
    path: str | Path,
    *,
    extraction: Extraction | None = None,
    crops: str | Path = "",
    offline: bool = False,
    min_agreement: float = 2 / 3,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
    download: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the packed data set ``path`` from FEC's annotation files.

    Args:
        files: annotation file by split, such as ``train`` and ``test``.
        path: the folder to create; photos and extracted faces are kept in ``<path>.work``, also afterwards.
        extraction: how faces are extracted; with ``crops`` only its size is used.
        crops: folder of existing face crops with their table ``crops.csv``; nothing is downloaded or detected.
        offline: download nothing; pack the photos on disk.
        min_agreement: minimum share of annotators who agree.
        workers: processes that extract faces; 0 = one per core.
        overwrite: replace an existing packed data set at ``path``.
        progress: show progress bars.
        download: keyword arguments of ``fetch_photos``.

    Returns:
        The coverage, as in ``dataset.json``: counts read, kept and dropped by reason of ``rows`` (by split),
        ``photos``, ``faces`` and ``triplets`` (by split).

    Raises:
        DataError: a file is invalid or has changed since the first run, ``path`` exists, another run is writing it,
            or no face or triplet is left.
    """
    extraction = extraction or Extraction()

    def locate(faces: Faces, work: Path) -> tuple[dict[int, Path], dict[str, str]]:
        """Paths of the photos by index, and reasons of the missing ones by URL."""
        if offline:
            store = PhotoStore(work)
            found = {url: store.find(url) for url in faces.sources}
            paths = {url: there for url, there in found.items() if there is not None}
            reasons = {url: "not_on_disk" for url in faces.sources if url not in paths}
        else:
            report = fetch_photos(faces.sources, work, progress=progress, **dict(download or {}))
            paths, reasons = report.path_of, report.reason_of
        return {number: paths[url] for number, url in enumerate(faces.sources) if url in paths}, reasons

    def read(files: Mapping[str, Path]) -> dict[str, Annotations]:
        return read_annotations(files, min_agreement=min_agreement, progress=progress)

    packing = _Packing(Path(path), read, extraction, workers=workers, overwrite=overwrite, progress=progress)
    given = {split: Path(file) for split, file in files.items()}
    if crops:
        return packing.of_crops(given, Path(crops))
    return packing.of_photos(given, locate)


def prepare_list(
    files: Mapping[str, str | Path],
    pictures: str | Path,
    path: str | Path,
    *,
    extraction: Extraction | None = None,
    allow_absolute: bool = False,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the packed data set ``path`` from lists ``img1,img2,img3,label,type``, see ``read_lists``.

    Args:
        files: list by split.
        pictures: folder that the paths in the lists are relative to.
        path: the folder to create.
        extraction: how faces are extracted; by default the images are face crops already.
        allow_absolute: also take images by absolute paths, from anywhere.
        workers: see ``prepare_fec``.
        overwrite: see ``prepare_fec``.
        progress: see ``prepare_fec``.

    Returns:
        The coverage, as ``prepare_fec``.

    Raises:
        DataError: as ``prepare_fec``; the folder ``pictures`` does not exist; absolute paths that are not allowed.
    """
    folder = Path(pictures)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that the paths in the list are relative to")

    def locate(faces: Faces, work: Path) -> tuple[dict[int, Path], dict[str, str]]:
        there = {number: folder / name for number, name in enumerate(faces.sources) if (folder / name).is_file()}
        return there, {name: "missing_file" for number, name in enumerate(faces.sources) if number not in there}

    def read(files: Mapping[str, Path]) -> dict[str, Annotations]:
        tables = read_lists(files, allow_absolute=allow_absolute, progress=progress)
        for split, table in tables.items():
            if first := table.coverage["first"].get("absolute_path"):
                where, text = f"{files[split]}: line {first['line']}", shorten(first["text"], 100)
                raise DataError(
                    f"{where}: an absolute path: {text}; allowed: paths below {folder}, or --allow-absolute"
                )
        return tables

    extraction = extraction or Extraction(detector="")
    packing = _Packing(Path(path), read, extraction, workers=workers, overwrite=overwrite, progress=progress)
    return packing.of_photos({split: Path(file) for split, file in files.items()}, locate)


Locate = Callable[[Faces, Path], tuple[dict[int, Path], dict[str, str]]]


class _Packing:
    """One run from annotation files to the packed data set."""

    def __init__(
        self,
        path: Path,
        read: Callable[[Mapping[str, Path]], dict[str, Annotations]],
        extraction: Extraction,
        *,
        workers: int,
        overwrite: bool,
        progress: bool,
    ) -> None:
        self._path = path
        self._work = path.with_name(f"{path.name}.work")
        self._read = read
        self._extraction = extraction
        self._workers = workers
        self._overwrite = overwrite
        self._progress = progress
        self._recipe = FaceRecipe(fit="whole")
        self._sources: dict[str, str] = {}  # of the data set, hashed when read, not hours later

    def of_photos(self, files: Mapping[str, Path], locate: Locate) -> dict[str, Any]:
        """Pack faces extracted from photos."""
        self._check(files)
        detector = self._extraction.build_detector()  # built now, so that its errors come before hours of downloading
        self._work.mkdir(parents=True, exist_ok=True)
        with FolderLock(self._work, at_work="run"):
            tables, faces = self._open(files)
            where, reasons = locate(faces, self._work / "download")
            photos = {"read": len(faces.sources), "kept": len(where), "dropped": dict(Counter(reasons.values()))}
            lost = {
                face: f"photo_{reasons[faces.sources[photo]]}"
                for face, photo in enumerate(faces.photo_F.tolist())
                if photo not in where
            }
            shards = FaceShards(self._work, _by_photo(faces, where), self._extraction)
            self._sources["faces"] = self._extraction.described(detector)
            self._recipe = self._extraction.recipe(detector)
            return self._pack(tables, faces, shards, lost, {"photos": photos})

    def of_crops(self, files: Mapping[str, Path], folder: Path) -> dict[str, Any]:
        """Pack existing face crops."""
        self._check(files)
        table = read_crops(folder / "crops.csv")
        self._work.mkdir(parents=True, exist_ok=True)
        with FolderLock(self._work, at_work="run"):
            tables, faces = self._open(files)
            whole = (float("nan"),) * 4
            there = {face: table.get(faces.key(face)) for face in range(len(faces.photo_F))}
            lost = {face: "not_in_crops_csv" for face, name in there.items() if name is None}
            photos = [
                None if name is None else PhotoFaces(folder / system_path(folder, name), [face], [whole])
                for face, name in there.items()
            ]
            shards = FaceShards(self._work, photos, Extraction(size=self._extraction.size, detector=""))
            self._sources["faces: crops.csv"] = hash_file(folder / "crops.csv")
            return self._pack(tables, faces, shards, lost, {})

    def _check(self, files: Mapping[str, Path]) -> None:
        """Validate before anything is written."""
        check_target(self._path, overwrite=self._overwrite)
        for file in files.values():
            if not file.is_file():
                raise DataError(f"{file}: no such file")

    def _open(self, files: Mapping[str, Path]) -> tuple[dict[str, Annotations], Faces]:
        hashes = {split: hash_file(file) for split, file in files.items()}
        self._sources = {f"{split}: {file.name}": hashes[split] for split, file in files.items()}
        tables = self._read(files)
        for split, table in tables.items():
            if not len(table.odd_T):
                dropped = {reason: count for reason, count in table.coverage["dropped"].items() if count}
                raise DataError(f"{files[split]}: none of {table.coverage['read']} rows is usable: {dropped}")
        check_sources(self._work, hashes, files)  # now: a file that is refused may be mended
        return tables, join_faces(tables)

    def _pack(
        self,
        tables: Mapping[str, Annotations],
        faces: Faces,
        shards: FaceShards,
        lost: dict[int, str],
        coverage: dict[str, Any],
    ) -> dict[str, Any]:
        shards.extract(workers=self._workers, progress=self._progress)
        lost |= shards.reasons()
        num_faces, kept = len(faces.photo_F), len(faces.photo_F) - len(lost)
        coverage = {
            "rows": {split: table.coverage for split, table in tables.items()},
            **coverage,
            "faces": {"read": num_faces, "kept": kept, "dropped": dict(Counter(lost.values()))},
        }
        if not kept:
            dropped = coverage["faces"]["dropped"]
            raise DataError(f"{self._path}: no face is left to pack; missing: {dropped}{decoder_hint(dropped)}")
        size = self._extraction.size
        writer = PackedWriter(
            self._path, num_faces=kept, height=size, width=size, channels=["R", "G", "B"], overwrite=self._overwrite
        )
        with writer:
            row_F = _add_faces(writer, faces, shards)
            coverage["triplets"] = {
                split: _add_triplets(writer, split, table, row_F[faces.of_split[split]])
                for split, table in tables.items()
            }
            writer.set_faces(self._recipe)
            writer.set_sources(self._sources)
            writer.set_coverage(coverage)
        return coverage


def join_faces(tables: Mapping[str, Annotations]) -> Faces:
    """The distinct faces of all splits, in order of first appearance."""
    photos: dict[str, int] = {}
    known: dict[tuple[int, bytes], int] = {}
    boxes: list[np.ndarray] = []
    of_split = {}
    for split, table in tables.items():
        photo_P = [photos.setdefault(url, len(photos)) for url in table.urls]
        numbers = np.empty(len(table.face_photo_F), np.int64)
        for place, (photo, box_4) in enumerate(zip(table.face_photo_F.tolist(), table.face_box_F4, strict=True)):
            face = (photo_P[photo], box_4.tobytes())
            if face not in known:
                known[face] = len(known)
                boxes.append(box_4)
            numbers[place] = known[face]
        of_split[split] = numbers
    photo_F = np.fromiter((photo for photo, _ in known), np.int64, len(known))
    return Faces(list(photos), photo_F, np.array(boxes, np.float64).reshape(-1, 4), of_split)


def _by_photo(faces: Faces, where: Mapping[int, Path]) -> list[PhotoFaces | None]:
    """Each photo with its faces, in the order of the photos; None for missing photos."""
    order = np.argsort(faces.photo_F, kind="stable")
    photo, first = np.unique(faces.photo_F[order], return_index=True)
    groups = np.split(order, first[1:])
    return [
        PhotoFaces(where[number], group.tolist(), faces.box_F4[group].tolist()) if number in where else None
        for number, group in zip(photo.tolist(), groups, strict=True)
    ]


def _add_faces(writer: PackedWriter, faces: Faces, shards: FaceShards) -> np.ndarray:
    """Write the faces found; returns the row of each face, −1 where not found, shape (F,)."""
    row_F = np.full(len(faces.photo_F), -1, np.int64)
    for shard in shards.read():
        found = shard["face"].tolist()
        records = [
            {
                "key": faces.key(face),
                "source": faces.sources[faces.photo_F[face]],
                "box": " ".join(f"{edge:g}" for edge in faces.box_F4[face] if not np.isnan(edge)),
            }
            | face_record(points, turned=shards.try_turns)
            for face, points in zip(found, shard["landmarks"], strict=True)
        ]
        rows = writer.add_faces(shard["image"], records)
        row_F[found] = rows
    return row_F


def _add_triplets(writer: PackedWriter, split: str, table: Annotations, row_F: np.ndarray) -> dict[str, Any]:
    """Write the triplets that have all three faces; returns the counts kept and dropped."""
    rows_T3 = row_F[table.faces_T3]
    kept_T = (rows_T3 >= 0).all(axis=1)
    if not kept_T.any():
        raise DataError(f"split {split}: none of {len(kept_T)} triplets has all its faces; see the missing faces")
    num_answers_T = np.diff(table.answer_offset)
    of_kept = np.repeat(kept_T, num_answers_T)
    writer.add_triplets(
        split,
        faces_T3=rows_T3[kept_T],
        odd_T=table.odd_T[kept_T],
        type_T=table.type_T[kept_T],
        votes_T3=table.votes_T3[kept_T],
        answer_offset=np.concatenate([[0], np.cumsum(num_answers_T[kept_T])]),
        annotator=table.annotator[of_kept],
        answer=table.answer[of_kept],
    )
    missing = (rows_T3 < 0).sum(axis=1)[~kept_T]
    words = {1: "one_face_missing", 2: "two_faces_missing", 3: "three_faces_missing"}
    by_type = np.bincount(table.type_T[kept_T], minlength=3).tolist()
    return {
        "read": len(kept_T),
        "kept": int(kept_T.sum()),
        "dropped": {word: int((missing == number).sum()) for number, word in words.items()},
        "kept_by_type": dict(zip(_TRIPLET_TYPES, by_type, strict=True)),
    }
