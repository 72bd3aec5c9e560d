"""Packs annotated triplets: from their tables and the photos, with the faces extracted in resumable shards.

Intermediate results are kept in ``<path>.work``, so an interrupted run resumes.

Shape suffixes: F faces, T triplets; edges of a box are left, right, top, bottom.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fecnet.faces.picture_files import decoder_hint
from fecnet.faces.picture_lists import system_path
from fecnet.faces.recipe import FaceRecipe
from fecnet.prepare.annotations import read_crops
from fecnet.prepare.extraction import Extraction, FaceShards, PhotoFaces, face_record
from fecnet.prepare.measured_square import with_square
from fecnet.prepare.people import TRAIN, known_people
from fecnet.prepare.triplet_rows import Annotations
from fecnet.prepare.web.journal import FolderLock
from fecnet.prepare.work import check_sources
from fecnet.prepare.writer import PackedWriter, check_target, face_key
from fecnet.utils.errors import DataError
from fecnet.utils.files import hash_file

logger = logging.getLogger(__name__)

_TRIPLET_TYPES = ("one_class", "two_class", "three_class")


@dataclass(frozen=True)
class Faces:
    """The distinct faces of all splits.

    Attributes:
        sources: the distinct photos: URLs, or paths relative to a folder.
        photo_F: index into ``sources``, shape (F,).
        box_F4: fractions of width and height, shape (F, 4); NaN for the whole image.
        of_split: for each split, the indices of its faces among these.
        subjects: the person of each photo by the photo's name in ``sources``; unknown persons are missing.
    """

    sources: list[str]
    photo_F: np.ndarray
    box_F4: np.ndarray
    of_split: dict[str, np.ndarray]
    subjects: dict[str, str]

    def key(self, face: int) -> str:
        """The face's identity, ``face_key`` of its photo and box."""
        box = self.box_F4[face]
        return face_key(self.sources[self.photo_F[face]], () if np.isnan(box[0]) else box.tolist())


Locate = Callable[[Faces, Path], tuple[dict[int, Path], dict[str, str]]]


class NothingUsableError(DataError):
    """No row, face or triplet of a source can be used."""


class TripletPacking:
    """One run from annotation files to the packed data set.

    Args:
        path: the folder to create.
        read: the triplets of each split, from the files.
        extraction: how faces are extracted.
        workers: processes that extract faces; 0 = one per core.
        overwrite: replace an existing packed data set at ``path``.
        progress: show progress bars.
        same_files: refuse other files than those that the work was started with, as for a download that takes days.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Mapping[str, Path]], Mapping[str, Annotations]],
        extraction: Extraction,
        *,
        workers: int,
        overwrite: bool,
        progress: bool,
        same_files: bool = False,
    ) -> None:
        self._path = path
        self._work = path.with_name(f"{path.name}.work")
        self._read = read
        self._extraction = extraction
        self._workers = workers
        self._overwrite = overwrite
        self._progress = progress
        self._same_files = same_files
        self._recipe = FaceRecipe(fit="whole")
        self._files: Mapping[str, Path] = {}
        self._hashes: dict[str, str] = {}  # hashes of the files, computed when they are read, not hours later
        self._sources: dict[str, str] = {}  # provenance of the data set

    def of_photos(self, files: Mapping[str, Path], locate: Locate) -> dict[str, Any]:
        """Pack faces extracted from photos; ``files`` are the sources by split, or by their content."""
        self._check(files)
        detector = self._extraction.build_detector()  # built now, so that its errors come before hours of downloading
        tables, faces = self._open(files)
        with self._working():
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
        tables, faces = self._open(files)
        with self._working():
            whole = (float("nan"),) * 4
            there = {face: table.get(faces.key(face)) for face in range(len(faces.photo_F))}
            lost = {face: "not_in_crops_csv" for face, name in there.items() if name is None}
            photos = [
                None if name is None else PhotoFaces(folder / system_path(folder, name), [face], [whole])
                for face, name in there.items()
            ]
            crops = Extraction(size=self._extraction.size, detector="", grey=self._extraction.grey)
            self._sources["faces: crops.csv"] = hash_file(folder / "crops.csv")
            return self._pack(tables, faces, FaceShards(self._work, photos, crops), lost, {})

    @contextmanager
    def _working(self) -> Iterator[None]:
        """The folder of intermediate results, locked for one run; it is deleted if it contains nothing useful."""
        begun = self._work.exists()
        self._work.mkdir(parents=True, exist_ok=True)
        try:
            with FolderLock(self._work, at_work="run"):
                if self._same_files:
                    check_sources(self._work, self._hashes, self._files)
                yield
        except NothingUsableError:
            if not begun and not (self._work / "download").exists():
                shutil.rmtree(self._work, ignore_errors=True)
            raise

    def _check(self, files: Mapping[str, Path]) -> None:
        """Validate before anything is written."""
        check_target(self._path, overwrite=self._overwrite)
        for file in files.values():
            if not file.is_file():
                raise DataError(f"{file}: no such file")

    def _open(self, files: Mapping[str, Path]) -> tuple[Mapping[str, Annotations], Faces]:
        """Read the files before anything is written, so that a refused file can be corrected."""
        self._files, self._hashes = files, {name: hash_file(file) for name, file in files.items()}
        self._sources = {f"{name}: {file.name}": self._hashes[name] for name, file in files.items()}
        tables = self._read(files)
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
            raise NothingUsableError(
                f"{self._path}: no face is left to pack; missing: {dropped}{decoder_hint(dropped)}"
            )
        size, channels = self._extraction.size, self._extraction.channels
        writer = PackedWriter(
            self._path, num_faces=kept, height=size, width=size, channels=channels, overwrite=self._overwrite
        )
        with writer:
            with tqdm(total=kept, desc="packing", unit="face", disable=not self._progress) as bar:
                row_F = _add_faces(writer, faces, shards, bar)
            coverage["triplets"] = {
                split: _add_triplets(writer, split, table, faces.of_split[split], row_F, lost)
                for split, table in tables.items()
            }
            if warnings := _warn_of_people(self._path, faces):
                coverage["warnings"] = warnings
            writer.set_faces(with_square(self._recipe, writer.faces_NHWC))
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
    subjects = {photo: subject for table in tables.values() for photo, subject in table.subjects.items()}
    return Faces(list(photos), photo_F, np.array(boxes, np.float64).reshape(-1, 4), of_split, subjects)


def _warn_of_people(path: Path, faces: Faces) -> dict[str, str]:
    """Warn of people who are in training and in another split too; returns the warnings by split, for the coverage."""
    subjects = {
        split: [faces.subjects.get(faces.sources[photo], "") for photo in faces.photo_F[numbers].tolist()]
        for split, numbers in faces.of_split.items()
    }
    warnings = {
        split: told
        for split, own in subjects.items()
        if split != TRAIN and (told := known_people(subjects.get(TRAIN, ()), own))
    }
    for split, told in warnings.items():
        logger.warning("%s: warning: %s in split %s", path, told, split)
    return warnings


def _by_photo(faces: Faces, where: Mapping[int, Path]) -> list[PhotoFaces | None]:
    """Each photo with its faces, in the order of the photos; None for missing photos."""
    order = np.argsort(faces.photo_F, kind="stable")
    photo, first = np.unique(faces.photo_F[order], return_index=True)
    groups = np.split(order, first[1:])
    return [
        PhotoFaces(where[number], group.tolist(), faces.box_F4[group].tolist()) if number in where else None
        for number, group in zip(photo.tolist(), groups, strict=True)
    ]


def _add_faces(writer: PackedWriter, faces: Faces, shards: FaceShards, bar: tqdm[Any]) -> np.ndarray:
    """Write the faces found; returns the row of each face, −1 where not found, shape (F,)."""
    row_F = np.full(len(faces.photo_F), -1, np.int64)
    for shard in shards.read():
        found = shard["face"].tolist()
        records = [
            {
                "key": faces.key(face),
                "source": faces.sources[faces.photo_F[face]],
                "box": " ".join(f"{edge:g}" for edge in faces.box_F4[face] if not np.isnan(edge)),
                "subject": faces.subjects.get(faces.sources[faces.photo_F[face]], ""),
            }
            | face_record(points, turned=shards.try_turns)
            for face, points in zip(found, shard["landmarks"], strict=True)
        ]
        rows = writer.add_faces(shard["image"], records)
        row_F[found] = rows
        bar.update(len(rows))
    return row_F


def _add_triplets(
    writer: PackedWriter,
    split: str,
    table: Annotations,
    number_F: np.ndarray,
    row_F: np.ndarray,
    lost: Mapping[int, str],
) -> dict[str, Any]:
    """Write the triplets that have all three faces; returns the counts kept and dropped.

    Args:
        writer: writer of the data set.
        split: name of the split.
        table: the triplets of the split.
        number_F: index of each face of the table among the faces of all splits.
        row_F: row of ``faces.npy`` of each face of all splits, −1 where it is missing.
        lost: reason for each missing face; a triplet counts under the reason of its first missing face.
    """
    faces_T3 = number_F[table.faces_T3]
    rows_T3 = row_F[faces_T3]
    kept_T = (rows_T3 >= 0).all(axis=1)
    dropped_T3, missing_T3 = faces_T3[~kept_T], rows_T3[~kept_T] < 0
    first_T = np.take_along_axis(dropped_T3, missing_T3.argmax(axis=1)[:, None], axis=1)[:, 0]
    dropped = dict(Counter(lost[face] for face in first_T.tolist()))
    if not kept_T.any():
        none = f"split {split}: none of {len(kept_T)} triplets has all its faces"
        raise NothingUsableError(f"{none}; missing: {dropped}{decoder_hint(dropped)}")
    num_answers_T = np.diff(table.answer_offset)
    of_kept = np.repeat(kept_T, num_answers_T)
    answers = {
        "answer_offset": np.concatenate([[0], np.cumsum(num_answers_T[kept_T])]),
        "annotator": table.annotator[of_kept],
        "answer": table.answer[of_kept],
    }
    writer.add_triplets(
        split,
        faces_T3=rows_T3[kept_T],
        odd_T=table.odd_T[kept_T],
        type_T=table.type_T[kept_T],
        votes_T3=table.votes_T3[kept_T],
        **(answers if len(table.answer) else {}),  # votes may be known without the answers
    )
    by_type = np.bincount(table.type_T[kept_T], minlength=3).tolist()
    return {
        "read": len(kept_T),
        "kept": int(kept_T.sum()),
        "dropped": dropped,
        "kept_by_type": dict(zip(_TRIPLET_TYPES, by_type, strict=True)),
    }
