"""Extracts faces from many photos, in several processes, in shards that survive an interruption.

Shape suffixes: F faces requested, K faces found, S side of a face, C its channels.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import multiprocessing
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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
from fecnet.faces.extract import Face, NoFace, extract_faces, grey_face, whole_face
from fecnet.faces.recipe import FaceRecipe, aligned_template
from fecnet.faces.turns import quarter_turn
from fecnet.utils.cores import usable_cores
from fecnet.utils.errors import DataError
from fecnet.utils.files import hash_file, read_arrays, replace_arrays

_SHARD = 32  # photos per shard file: at most two shards per process are lost by a kill
_MIN_SHARDS = 16  # of more photos than a shard holds: all processes are busy until the end with a hundred large ones
_BATCH = 8  # photos decoded at once: the detector processes their faces in one batch
_NEWER = ("try_turns", "grey")  # settings that are not in the names of older folders of shards
_BATCH_PIXELS = 40_000_000  # fewer photos if they are larger; bounds memory to 120 MB plus one photo


@dataclass(frozen=True)
class Extraction:
    """How a face is extracted from its photo.

    Attributes:
        size: side of a face, pixels.
        detector: a name of ``build_detector``; empty = crop the box, or the whole image, without detection.
        model: weights file of the detector, where it needs one.
        margin: context around a box for the detector, as a fraction of its longer side.
        no_face: where the detector finds no face: ``drop`` it, or use the ``box``, or the whole image without one.
        refine: see ``build_detector``.
        try_turns: see ``build_detector``.
        grey: one channel instead of three.
    """

    size: int = 224
    detector: str = "mtcnn"
    model: str = ""
    margin: float = 0.5
    no_face: NoFace = "drop"
    refine: bool = True
    try_turns: bool = False
    grey: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024:
            raise DataError(f"size: {self.size}; allowed: 16..1024 pixels")
        if not 0 <= self.margin <= 4:
            raise DataError(f"margin: {self.margin}; allowed: 0..4 of the box's longer side")
        if self.try_turns and not self.detector:
            raise DataError("try_turns: nothing is detected; allowed: with a detector")

    @property
    def channels(self) -> list[str]:
        """Names of the channels of a face, in order."""
        return ["grey"] if self.grey else ["R", "G", "B"]

    def build_detector(self) -> Detector | None:
        """The detector, or None for no detection.

        Raises:
            DataError: unknown detector, or its package or weights are missing.
        """
        if not self.detector:
            return None
        return build_detector(self.detector, model_path=self.model, refine=self.refine, try_turns=self.try_turns)

    def described(self, detector: Detector | None) -> str:
        """The detector and all other settings that affect the faces; recorded in the data set."""
        if detector is None:
            return "taken as they are"
        return f"{detector.name}, margin {self.margin:g}, no face: {self.no_face}"

    def recipe(self, detector: Detector | None) -> FaceRecipe:
        """The same in machine-readable form, to process new photos identically."""
        if detector is None:
            return FaceRecipe(fit="whole")
        return FaceRecipe(
            fit="whole",
            align=True,
            detector=self.detector,
            detector_name=detector.name,
            refine=self.refine,
            try_turns=self.try_turns,
            margin=self.margin,
            no_face=self.no_face,
            template=aligned_template(),
        )

    def folder_name(self) -> str:
        """Name of the folder of shards extracted with these settings; a model file is identified by its hash."""
        settings = {name: value for name, value in asdict(self).items() if name not in _NEWER or value}
        how = settings | ({"model": hash_file(Path(self.model))} if self.model and self.detector else {})
        return f"faces-{hashlib.sha256(json.dumps(how).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class PhotoFaces:
    """A photo and the faces requested from it.

    Attributes:
        path: the image file.
        faces: indices of the faces, unique over all photos.
        boxes: left, right, top, bottom of each as fractions of width and height; NaN for the whole image.
        in_pixels: the boxes are in pixels of the image instead, after its EXIF orientation is applied.
    """

    path: Path
    faces: Sequence[int]
    boxes: Sequence[Sequence[float]]
    in_pixels: bool = False


class FaceShards:
    """The shards of one extraction, in the order of the photos.

    Args:
        folder: folder of the shards; created if missing.
        photos: the photos, in the order in which their faces will be read back; None for a missing photo. A shard is
            extracted again where a photo of it was added, removed or changed.
        extraction: how faces are extracted.
    """

    def __init__(self, folder: Path, photos: Sequence[PhotoFaces | None], extraction: Extraction) -> None:
        self._folder = folder / extraction.folder_name()
        self._extraction = extraction
        self.try_turns = extraction.try_turns
        size = _shard_size(len(photos))
        self._shards = [
            [photo for photo in photos[first : first + size] if photo is not None]
            for first in range(0, len(photos), size)
        ]
        self._paths = [self._folder / _shard_name(number, shard) for number, shard in enumerate(self._shards)]

    def extract(self, *, workers: int = 0, progress: bool = True) -> None:
        """Extract the missing shards.

        Args:
            workers: processes; 0 = one per core.
            progress: show a progress bar.

        Raises:
            DataError: the detector cannot be built, or a process was killed.
            OSError: the disk is full or read-only.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for partial in self._folder.glob(".*.partial"):
            partial.unlink()
        done = [path.exists() for path in self._paths]
        for path in set(self._folder.glob("*.npz")) - set(self._paths):
            path.unlink()
        todo = [number for number, there in enumerate(done) if not there]
        total = sum(map(len, self._shards))
        before = total - sum(len(self._shards[number]) for number in todo)
        workers = min(workers or usable_cores(), max(1, len(todo)))
        with tqdm(total=total, initial=before, desc="faces", unit="photo", disable=not progress) as bar:
            for number, faults in self._run(todo, workers):
                bar.update(len(self._shards[number]))
                bar.set_postfix(faults, refresh=False)

    def _run(self, todo: Sequence[int], workers: int) -> Iterator[tuple[int, dict[str, int]]]:
        """Extract shards; yields the index of each when written, with the counts of missing faces so far by reason."""
        faults: Counter[str] = Counter()
        waiting, running = deque(todo), dict[Future[dict[str, int]], int]()
        with _one_thread(), _processes(workers - 1) as pool:
            detector = self._extraction.build_detector()
            try:
                while waiting or running:
                    while pool and waiting and len(running) < 2 * (workers - 1):
                        number = waiting.popleft()
                        future = pool.submit(_work, self._shards[number], self._paths[number], self._extraction)
                        running[future] = number
                    if waiting:  # this process is one of the workers: it works while the others start
                        number = waiting.popleft()
                        faults.update(
                            _extract_shard(self._shards[number], self._paths[number], self._extraction, detector)
                        )
                        yield number, dict(faults)
                    for future in [*wait(running, timeout=0 if waiting else None, return_when=FIRST_COMPLETED).done]:
                        faults.update(future.result())
                        yield running.pop(future), dict(faults)
            except BrokenProcessPool as error:
                raise DataError(
                    f"{self._folder}: a process that extracts faces was killed, perhaps for lack of memory; finished "
                    "shards are kept: run the same command again, with fewer --workers"
                ) from error

    def reasons(self) -> dict[int, str]:
        """Reasons of the faces not found, by index."""
        reasons: dict[int, str] = {}
        for path in self._paths:
            shard = read_arrays(path, ("missing", "reason"), kind="shard of faces")
            reasons |= dict(zip(shard["missing"].tolist(), shard["reason"].tolist(), strict=True))
        return reasons

    def read(self) -> Iterator[dict[str, np.ndarray]]:
        """The faces found, shard by shard.

        Yields:
            ``face`` (K,), ``image`` uint8 (K, S, S, C), ``landmarks`` float32 (K, 5, 2), ``box`` float32 (K, 4) in
            pixels of the photo.
        """
        names = ("face", "image", "landmarks", "box")
        for path in self._paths:
            yield read_arrays(path, names, kind="shard of faces")

    def delete(self) -> None:
        """Delete the shards, and the parent folder if nothing else is in it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()


def _shard_size(photos: int) -> int:
    """Photos per shard: one shard of few photos, for which starting another process would take longer."""
    return _SHARD if photos <= _SHARD else min(_SHARD, max(_BATCH, math.ceil(photos / _MIN_SHARDS)))


def _shard_name(number: int, photos: Sequence[PhotoFaces]) -> str:
    """File name of a shard: a hash of its photos, so that a shard of other or changed photos is never reused."""
    wanted = [
        (str(photo.path), _stamp(photo.path), list(photo.faces), [list(box) for box in photo.boxes], photo.in_pixels)
        for photo in photos
    ]
    return f"{number:06d}-{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]}.npz"


def _stamp(path: Path) -> tuple[int, ...]:
    """Size and modification time of a file; empty where it does not exist."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ()
    return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _processes(num: int) -> Iterator[ProcessPoolExecutor | None]:
    """Additional worker processes, or None; on an error, work that was not started is cancelled."""
    if num == 0:
        yield None
        return
    # not forked: the threads of torch and OpenCV do not survive a fork
    with ProcessPoolExecutor(num, multiprocessing.get_context("spawn"), initializer=_start_worker) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as in a worker process: a detector's rounding, and so the pixels, depend on the threads."""
    import torch

    threads = torch.get_num_threads()
    _start_worker()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)  # one process per core: threads would compete


@cache
def _detector_of(extraction: Extraction) -> Detector | None:
    """The detector of this worker process, built once. Not in the initializer, which would hide an error."""
    return extraction.build_detector()


def _work(photos: Sequence[PhotoFaces], path: Path, extraction: Extraction) -> dict[str, int]:
    return _extract_shard(photos, path, extraction, _detector_of(extraction))


def _extract_shard(
    photos: Sequence[PhotoFaces], path: Path, extraction: Extraction, detector: Detector | None
) -> dict[str, int]:
    """Extract the faces of these photos and write the shard; returns counts of missing faces by reason."""
    found: list[tuple[int, Face]] = []
    missing: list[tuple[int, str]] = []
    for first in range(0, len(photos), _BATCH):
        for face, result in extract_photos(photos[first : first + _BATCH], extraction, detector):
            if isinstance(result, str):
                missing.append((face, result))
            else:
                found.append((face, result))
    size, images = extraction.size, [cut.image_HWC for _, cut in found]
    if extraction.grey:
        images = [grey_face(image_HWC) for image_HWC in images]
    replace_arrays(
        path,
        face=np.array([face for face, _ in found], np.int64),
        image=np.array(images, np.uint8).reshape(-1, size, size, len(extraction.channels)),
        landmarks=np.array([cut.landmarks_52 for _, cut in found], np.float32).reshape(-1, 5, 2),
        box=np.array([cut.box_4 for _, cut in found], np.float32).reshape(-1, 4),
        missing=np.array([face for face, _ in missing], np.int64),
        reason=np.array([reason for _, reason in missing], np.str_),
    )
    return dict(Counter(reason for _, reason in missing))


def extract_photos(
    photos: Sequence[PhotoFaces], extraction: Extraction, detector: Detector | None
) -> list[tuple[int, Face | str]]:
    """The faces of a batch of photos: index, and the face or the reason why there is none."""
    results: list[tuple[int, Face | str]] = []
    numbers: list[int] = []
    images: list[np.ndarray] = []
    boxes: list[np.ndarray | None] = []
    scales: dict[int, int] = {}
    pixels = 0
    for photo in photos:
        read = read_photo(photo.path, halve=bool(np.isnan(photo.boxes).all()))
        if isinstance(read, str):
            results += [(face, read) for face in photo.faces]
            continue
        image_HWC = read.image_HWC
        for face, box in zip(photo.faces, photo.boxes, strict=True):
            numbers.append(face)
            images.append(image_HWC)
            boxes.append(_in_pixels(box, image_HWC, scaled=photo.in_pixels))
            scales[face] = read.scale
        pixels += image_HWC.shape[0] * image_HWC.shape[1]
        if pixels > _BATCH_PIXELS:
            results += zip(numbers, _cut(images, boxes, extraction, detector), strict=True)
            numbers, images, boxes, pixels = [], [], [], 0
    results += zip(numbers, _cut(images, boxes, extraction, detector), strict=True)
    return [(face, result if isinstance(result, str) else _scaled(result, scales[face])) for face, result in results]


def _scaled(face: Face, scale: int) -> Face:
    """The face with its coordinates in pixels of the photo; ``scale`` of these are one pixel of the image read."""
    return face._replace(landmarks_52=face.landmarks_52 * scale, box_4=face.box_4 * scale)


def _cut(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray | None],
    extraction: Extraction,
    detector: Detector | None,
) -> Sequence[Face | str]:
    """Extract the faces in the boxes."""
    if detector is None:
        return [whole_face(*pair, extraction.size) for pair in zip(images, boxes, strict=True)]
    how: Mapping[str, Any] = {"margin": extraction.margin, "no_face": extraction.no_face}
    return extract_faces(images, detector, size=extraction.size, boxes=boxes, **how)


def _in_pixels(box_lrtb: Sequence[float], image_HWC: np.ndarray, *, scaled: bool) -> np.ndarray | None:
    """The box as x1, y1, x2, y2 in pixels; None for the whole image. ``scaled``: the box is in pixels already."""
    left, right, top, bottom = box_lrtb
    if np.isnan(left):
        return None
    height, width = (1, 1) if scaled else image_HWC.shape[:2]
    return np.array([left * width, top * height, right * width, bottom * height])


def face_record(points_52: np.ndarray, *, turned: bool) -> dict[str, str]:
    """The fields of a row of ``faces.csv`` for a detection: landmarks and flags.

    Args:
        points_52: landmarks in pixels of the photo, shape (5, 2); NaN where the face was used without a detection.
        turned: photos were rotated where no face was found; the flags then name the rotation that makes it upright.
    """
    if np.isnan(points_52).any():
        return {"landmarks": "", "flags": "unaligned"}
    turn = quarter_turn(points_52) if turned else 0
    points = " ".join(f"{value:.2f}" for value in points_52.ravel())
    return {"landmarks": points, "flags": f"turned_{turn}" if turn else ""}
