"""Faces out of many photos, in several processes, in pieces that outlive being killed.

Shape suffixes: F faces wanted, K faces found, S side of a face.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fecnet.faces.decode import read_photo
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detector
from fecnet.faces.extract import Face, NoFace, extract_faces, whole_face
from fecnet.faces.recipe import FaceRecipe, aligned_template
from fecnet.utils.cores import usable_cores
from fecnet.utils.errors import DataError
from fecnet.utils.files import hash_file, read_arrays, replace_arrays

_PIECE = 128  # photos whose faces are written together: what a kill costs at most, by process
_TOGETHER = 8  # photos decoded at once: the detector sees their faces in one batch
_TOGETHER_PIXELS = 40_000_000  # fewer photos where they are larger: bounds memory, 120 MB and the last photo


@dataclass(frozen=True)
class Extraction:
    """How a face is cut out of its photo.

    Attributes:
        size: side of a face, pixels.
        detector: a name of ``build_detector``; empty: the box, or the whole picture, is taken as it is.
        model: the detector's weights, where it wants a file.
        margin: shown to the detector around a box, as a fraction of its longer side.
        no_face: where the detector finds none in a box: ``drop`` it or take the ``box``.
        refine: see ``build_detector``.
    """

    size: int = 224
    detector: str = "mtcnn"
    model: str = ""
    margin: float = 0.5
    no_face: NoFace = "drop"
    refine: bool = True

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024:
            raise DataError(f"size: {self.size}; allowed: 16..1024 pixels")
        if not 0 <= self.margin <= 4:
            raise DataError(f"margin: {self.margin}; allowed: 0..4 of the box's longer side")

    def build_detector(self) -> Detector | None:
        """The detector, or None where faces are taken as they are.

        Raises:
            DataError: it cannot be built: unknown, or its package or weights are missing.
        """
        if not self.detector:
            return None
        return build_detector(self.detector, model_path=self.model, refine=self.refine)

    def described(self, detector: Detector | None) -> str:
        """The detector and all else that changes the faces; recorded in data sets made with it."""
        if detector is None:
            return "taken as they are"
        return f"{detector.name}, margin {self.margin:g}, no face: {self.no_face}"

    def recipe(self, detector: Detector | None) -> FaceRecipe:
        """The same, for a program: what cuts a new photo likewise."""
        if detector is None:
            return FaceRecipe(fit="whole")
        return FaceRecipe(
            fit="whole",
            align=True,
            detector=self.detector,
            detector_name=detector.name,
            refine=self.refine,
            margin=self.margin,
            no_face=self.no_face,
            template=aligned_template(),
        )

    def folder_name(self) -> str:
        """Names the pieces that were cut in just this way; the model counts by its content, wherever it lies."""
        how = asdict(self) | ({"model": hash_file(Path(self.model))} if self.model and self.detector else {})
        return f"faces-{hashlib.sha256(json.dumps(how).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class PhotoFaces:
    """A photo and the faces wanted from it.

    Attributes:
        path: the picture.
        faces: their numbers, each once over all photos.
        boxes: left, right, top, bottom of each as fractions of width and height; NaN for the whole picture.
    """

    path: Path
    faces: Sequence[int]
    boxes: Sequence[Sequence[float]]


class FacePieces:
    """The pieces of one extraction, in the order of the photos.

    Args:
        folder: where they are written; made where absent.
        photos: the photos, in the order in which their faces will be read back; None for one that is not there.
            A piece is cut again where one of its photos has come or gone.
        extraction: how faces are cut.
    """

    def __init__(self, folder: Path, photos: Sequence[PhotoFaces | None], extraction: Extraction) -> None:
        self._folder = folder / extraction.folder_name()
        self._extraction = extraction
        self._pieces = [
            [photo for photo in photos[first : first + _PIECE] if photo is not None]
            for first in range(0, len(photos), _PIECE)
        ]

    def extract(self, *, workers: int = 0, progress: bool = True) -> None:
        """Cut the pieces that are not there yet.

        Args:
            workers: processes; 0 for one per core.
            progress: show a bar.

        Raises:
            DataError: the detector cannot be built, or a process was killed.
            OSError: the disk is full or read-only.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for partial in self._folder.glob(".*.partial"):
            partial.unlink()
        wanted = [self._path(number) for number in range(len(self._pieces))]
        done = [path.exists() for path in wanted]
        for path in set(self._folder.glob("*.npz")) - set(wanted):
            path.unlink()
        todo = [number for number, there in enumerate(done) if not there]
        total = sum(map(len, self._pieces))
        before = total - sum(len(self._pieces[number]) for number in todo)
        workers = min(workers or usable_cores(), max(1, len(todo)))
        with tqdm(total=total, initial=before, desc="faces", unit="photo", disable=not progress) as bar:
            for number, faults in self._run(todo, workers):
                bar.update(len(self._pieces[number]))
                bar.set_postfix(faults, refresh=False)

    def _run(self, todo: Sequence[int], workers: int) -> Iterator[tuple[int, dict[str, int]]]:
        """Cut the pieces; the number of each when it is written, and the faces missing so far by reason."""
        faults: Counter[str] = Counter()
        if workers == 1:
            detector = self._extraction.build_detector()
            for number in todo:
                faults.update(_extract_piece(self._pieces[number], self._path(number), self._extraction, detector))
                yield number, dict(faults)
            return
        # not forked: torch's and OpenCV's threads do not survive that
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
            running = {pool.submit(_work, self._pieces[k], self._path(k), self._extraction): k for k in todo}
            try:
                for future in as_completed(running):
                    faults.update(future.result())
                    yield running[future], dict(faults)
            except BrokenProcessPool as error:
                raise DataError(
                    f"{self._folder}: a process that cuts faces was killed, perhaps for want of memory; pieces "
                    "that are done stay: run the same command again, with fewer --workers"
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def reasons(self) -> dict[int, str]:
        """Why a face was not found, by its number; faces found are not in it."""
        told: dict[int, str] = {}
        for number in range(len(self._pieces)):
            piece = read_arrays(self._path(number), ("missing", "reason"), kind="piece of faces")
            told |= dict(zip(piece["missing"].tolist(), piece["reason"].tolist(), strict=True))
        return told

    def read(self) -> Iterator[dict[str, np.ndarray]]:
        """The faces found, piece by piece.

        Returns:
            ``face`` (K,), ``image`` uint8 (K, S, S, 3), ``landmarks`` float32 (K, 5, 2), ``box`` float32 (K, 4) in
            pixels of the photo.
        """
        names = ("face", "image", "landmarks", "box")
        for number in range(len(self._pieces)):
            yield read_arrays(self._path(number), names, kind="piece of faces")

    def _path(self, number: int) -> Path:
        """Named by what is in it, so that a piece of other photos is never taken for it."""
        wanted = [
            (str(photo.path), list(photo.faces), [list(box) for box in photo.boxes]) for photo in self._pieces[number]
        ]
        return self._folder / f"{number:06d}-{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]}.npz"


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)  # one process per core: threads would fight


@cache
def _detector_of(extraction: Extraction) -> Detector | None:
    """Of this worker process: building the nets takes a second. Not at its start, where an error would have no name."""
    return extraction.build_detector()


def _work(photos: Sequence[PhotoFaces], path: Path, extraction: Extraction) -> dict[str, int]:
    return _extract_piece(photos, path, extraction, _detector_of(extraction))


def _extract_piece(
    photos: Sequence[PhotoFaces], path: Path, extraction: Extraction, detector: Detector | None
) -> dict[str, int]:
    """Cut the faces of these photos and write them; how many are missing by reason."""
    found: list[tuple[int, Face]] = []
    missing: list[tuple[int, str]] = []
    for first in range(0, len(photos), _TOGETHER):
        for face, result in extract_photos(photos[first : first + _TOGETHER], extraction, detector):
            if isinstance(result, str):
                missing.append((face, result))
            else:
                found.append((face, result))
    size = extraction.size
    replace_arrays(
        path,
        face=np.array([face for face, _ in found], np.int64),
        image=np.array([cut.image_HWC for _, cut in found], np.uint8).reshape(-1, size, size, 3),
        landmarks=np.array([cut.landmarks_52 for _, cut in found], np.float32).reshape(-1, 5, 2),
        box=np.array([cut.box_4 for _, cut in found], np.float32).reshape(-1, 4),
        missing=np.array([face for face, _ in missing], np.int64),
        reason=np.array([reason for _, reason in missing], np.str_),
    )
    return dict(Counter(reason for _, reason in missing))


def extract_photos(
    photos: Sequence[PhotoFaces], extraction: Extraction, detector: Detector | None
) -> list[tuple[int, Face | str]]:
    """The faces of a few photos: number, and the face or the word that says why there is none."""
    results: list[tuple[int, Face | str]] = []
    numbers: list[int] = []
    images: list[np.ndarray] = []
    boxes: list[np.ndarray | None] = []
    pixels = 0
    for photo in photos:
        image_HWC = read_photo(photo.path)
        if isinstance(image_HWC, str):
            results += [(face, image_HWC) for face in photo.faces]
            continue
        for face, box in zip(photo.faces, photo.boxes, strict=True):
            numbers.append(face)
            images.append(image_HWC)
            boxes.append(_in_pixels(box, image_HWC))
        pixels += image_HWC.shape[0] * image_HWC.shape[1]
        if pixels > _TOGETHER_PIXELS:
            results += zip(numbers, _cut(images, boxes, extraction, detector), strict=True)
            numbers, images, boxes, pixels = [], [], [], 0
    return [*results, *zip(numbers, _cut(images, boxes, extraction, detector), strict=True)]


def _cut(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray | None],
    extraction: Extraction,
    detector: Detector | None,
) -> Sequence[Face | str]:
    """The faces in the boxes."""
    if detector is None:
        return [whole_face(*pair, extraction.size) for pair in zip(images, boxes, strict=True)]
    how: Mapping[str, Any] = {"margin": extraction.margin, "no_face": extraction.no_face}
    return extract_faces(images, detector, size=extraction.size, boxes=boxes, **how)


def _in_pixels(box_lrtb: Sequence[float], image_HWC: np.ndarray) -> np.ndarray | None:
    """x1, y1, x2, y2 in pixels; None where the whole picture is meant."""
    left, right, top, bottom = box_lrtb
    if np.isnan(left):
        return None
    height, width = image_HWC.shape[:2]
    return np.array([left * width, top * height, right * width, bottom * height])
