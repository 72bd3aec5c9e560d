"""Crops the face of each labelled image: a square, in threads, or the detected and aligned face, in processes.

Shape suffixes: S pixels per side, C channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from fecnet.faces.decode import without_limit
from fecnet.faces.quiet import quiet
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.square_faces import load_square
from fecnet.prepare.extraction import Extraction, FaceShards, PhotoFaces, face_record
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.utils.cores import usable_cores
from fecnet.utils.errors import DataError

_CHUNK = 16  # images that a thread crops at a time; each thread works at most two chunks ahead


class CutFace(NamedTuple):
    """A face, and the fields of its row of ``faces.csv`` about the detection."""

    image_SSC: np.ndarray  # uint8, shape (S, S, C)
    record: dict[str, str]


Cut = tuple[int, CutFace | str]  # index of the image; its face, or the reason why there is none


class FaceCutter(Protocol):
    """Crops faces of labelled images.

    Attributes:
        recipe: how faces are cropped, to process new images identically.
        sources: entries for the provenance of the data set.
    """

    recipe: FaceRecipe
    sources: dict[str, str]

    def cut(self, pictures: Sequence[LabelledPicture]) -> Iterator[Cut]:
        """The faces in the order of the images; those without a face may come first."""

    def clean(self) -> None:
        """Delete intermediate results; called when they are not needed any more."""


class SquareCutter:
    """The central square of each image, or the square around its box, see ``load_square``.

    Args:
        size: S.
        grey: one channel instead of three.
        workers: threads; 0 = one per core.
        progress: show a progress bar.
    """

    def __init__(self, size: int, *, grey: bool, workers: int, progress: bool) -> None:
        self._size, self._grey = size, grey
        self._workers, self._progress = workers or usable_cores(), progress
        self.recipe = FaceRecipe()
        self.sources: dict[str, str] = {}

    def cut(self, pictures: Sequence[LabelledPicture]) -> Iterator[Cut]:
        """See ``FaceCutter``."""
        shown = tqdm(pictures, desc="pictures", unit="picture", disable=not self._progress)
        for place, face in enumerate(_in_turn(self._load, shown, self._workers)):
            yield place, face if isinstance(face, str) else CutFace(face, {})

    def clean(self) -> None:
        """See ``FaceCutter``: there are none."""

    def _load(self, picture: LabelledPicture) -> np.ndarray | str:
        return load_square(picture.picture, picture.box, self._size, grey=self._grey)


class AlignedCutter:
    """The face detected in each image, or in its box, aligned as ``fecnet prepare fec`` does.

    Args:
        source: the images.
        path: the data set to write; shards of faces are kept in ``<path>.work`` until it is written.
        extraction: how faces are detected and aligned.
        workers: processes; 0 = one per core.
        progress: show a progress bar.

    Raises:
        DataError: the source has pixels instead of image files, or the detector cannot be built.
    """

    def __init__(
        self, source: LabelledSource, path: Path, extraction: Extraction, *, workers: int, progress: bool
    ) -> None:
        if any(isinstance(picture.picture, np.ndarray) for picture in source.pictures):
            raise DataError(f"align: {source.origin} has cropped faces as pixels; allowed: sources of image files")
        detector = extraction.build_detector()
        self._work, self._extraction = path.with_name(f"{path.name}.work"), extraction
        self._workers, self._progress = workers, progress
        self._shards: FaceShards | None = None
        self.recipe = extraction.recipe(detector)
        self.sources = {"faces": extraction.described(detector)}

    def cut(self, pictures: Sequence[LabelledPicture]) -> Iterator[Cut]:
        """See ``FaceCutter``; after an interruption, finished shards of unchanged images are read again.

        Raises:
            DataError: a process was killed.
            OSError: the disk is full or read-only.
        """
        self._shards = FaceShards(self._work, _by_photo(pictures), self._extraction)
        self._shards.extract(workers=self._workers, progress=self._progress)
        for face, reason in self._shards.reasons().items():
            yield face, reason
        for shard in self._shards.read():
            for face, image, points_52 in zip(shard["face"], shard["image"], shard["landmarks"], strict=True):
                record = face_record(points_52, turned=self._extraction.try_turns)
                yield int(face), CutFace(image, record)

    def clean(self) -> None:
        """See ``FaceCutter``."""
        if self._shards is not None:
            self._shards.delete()


def _in_turn(
    load: Callable[[LabelledPicture], np.ndarray | str], pictures: Iterable[LabelledPicture], workers: int
) -> Iterator[np.ndarray | str]:
    """Load images in threads, a few ahead; several images are decoded and resized concurrently."""

    def load_all(chunk: Sequence[LabelledPicture]) -> list[np.ndarray | str]:
        with quiet(), without_limit():  # entered once, not for each picture
            return [load(picture) for picture in chunk]

    waiting: deque[Future[list[np.ndarray | str]]] = deque()
    rest = iter(pictures)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(rest, _CHUNK)):
            waiting.append(pool.submit(load_all, chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _by_photo(pictures: Sequence[LabelledPicture]) -> list[PhotoFaces]:
    """The photos in order; consecutive rows of one photo are grouped, so that it is decoded once."""
    photos = []
    for path, group in groupby(enumerate(pictures), key=lambda pair: pair[1].picture):
        assert isinstance(path, Path)
        faces, boxes = [], []
        for face, picture in group:
            left, top, right, bottom = picture.box or (float("nan"),) * 4
            faces.append(face)
            boxes.append((left, right, top, bottom))
        photos.append(PhotoFaces(path, faces, boxes, in_pixels=True))
    return photos
