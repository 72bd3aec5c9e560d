"""Converts pictures to faces preprocessed like the training data, a few at a time.

Shape suffixes: H, W pixels of a picture, S pixels a side of a face, C channels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fecnet.encoder.pictures import OK, Item, as_photo
from fecnet.faces.decode import Photo
from fecnet.faces.detect import build_detector, detector_gpu
from fecnet.faces.detections import Detections, Detector
from fecnet.faces.extract import (
    Box,
    aligned_face,
    grey_face,
    locate_faces,
    unaligned_face,
    usable_box,
    whole_face,
)
from fecnet.faces.face_square import FaceSquare
from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.second_look import THRESHOLDS, SecondLook
from fecnet.faces.square_faces import load_square
from fecnet.faces.turns import TurningDetector
from fecnet.faces.which import Which, check_which
from fecnet.utils.errors import UserError

logger = logging.getLogger(__name__)

_BATCH = 8  # pictures per call of the detector
_BATCH_PIXELS = 40_000_000  # fewer pictures if these are large: bounds memory to 120 MB and the last picture

Picture = tuple[Item, Box | None]


class PhotoFace(NamedTuple):
    """A face of a picture, or why there is none.

    Attributes:
        picture: index of the picture among those given, from 0.
        status: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``.
        image_SSC: the preprocessed face, uint8, shape (S, S, C); None where the status is not ``ok``.
        box_4: float32, x1, y1, x2, y2 in pixels of the picture; may reach beyond it. NaN where nothing was detected.
        score: score of the detector, 0..1. NaN where nothing was detected.
        landmarks_52: float32, shape (5, 2), pixels of the picture, in the order of ``Detections``. NaN where nothing
            was detected.
    """

    picture: int
    status: str
    image_SSC: np.ndarray | None = None
    box_4: np.ndarray = np.full(4, np.nan, np.float32)
    score: float = float("nan")
    landmarks_52: np.ndarray = np.full((5, 2), np.nan, np.float32)

    @property
    def has_place(self) -> bool:
        """Whether a face was detected; ``image_SSC`` may still be None."""
        return not bool(np.isnan(self.box_4).any())


class _Opened(NamedTuple):
    """A picture in which the face has not been located yet."""

    place: int
    photo: Photo
    box: Box | None


class FaceMaker:
    """Converts pictures to faces as ``fecnet prepare`` does.

    Args:
        size: S.
        channels: names of the channels of stored faces, in order.
        recipe: how the faces of the training data were made.
        origin: the checkpoint, for error messages.
        detector_model: YuNet's ``.onnx`` file, if YuNet was the detector. If the training data had no detector, YuNet
            is then used instead of MTCNN.
        detector_device: device of MTCNN.
        try_turns: rotate pictures without a face, even if that was not done with the training faces.

    Raises:
        UserError: no such device.

    Attributes:
        shape: shape of a stored face: S, S, C.
        channels: names of the channels, in order.
        tries_turns: whether pictures in which no face is found are rotated.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: Sequence[str],
        recipe: FaceRecipe,
        origin: str,
        detector_model: str | Path = "",
        detector_device: str = "cpu",
        try_turns: bool = False,
    ) -> None:
        self.shape, self.channels = (size, size, len(channels)), tuple(channels)
        self._recipe, self._origin = recipe, origin
        self._model, self.detector_device = detector_model, detector_device
        self.tries_turns = try_turns or recipe.try_turns
        self._grey = channels[0] == "grey"
        self._detector: Detector | None = None
        self._closer: Detector | None = None  # for a second look
        self._square = FaceSquare()
        self._kind = recipe.detector or ("yunet" if detector_model else "mtcnn")
        if detector_device != "cpu":  # an error is raised now, although there may be nothing to detect
            detector_gpu(self._kind, detector_device)

    def make(self, pictures: Iterable[Picture], *, faces: Which = "auto") -> Iterator[PhotoFace]:
        """The faces of each picture in turn; at most ``_BATCH`` pictures are in memory.

        Args:
            pictures: pairs of a picture and the expected box of its face, x1, y1, x2, y2 in pixels, or None. With
                ``whole`` nothing is detected: the square around the box is the face.
            faces: see ``fecnet.faces.which``; a stored face is an array of exactly ``shape``.

        Returns:
            One face for each picture; with ``all`` one or more. For a picture without a face, one without an image.

        Raises:
            UserError: not a picture; unknown ``faces``, or ``all`` with a box; or the detector is missing.
        """
        check_which(faces)
        held: list[_Opened | PhotoFace] = []
        pixels = 0
        for place, (item, box) in enumerate(pictures):
            if box is not None and faces == "all":
                raise UserError("boxes: given with faces 'all', but a box names one face; allowed: only one of the two")
            held.append(self._opened(place, item, box, faces))
            if isinstance(opened := held[-1], _Opened):
                pixels += opened.photo.image_HWC.shape[0] * opened.photo.image_HWC.shape[1]
            if len(held) == _BATCH or pixels > _BATCH_PIXELS:
                yield from self._in_order(held, faces)
                held, pixels = [], 0
        yield from self._in_order(held, faces)

    def check_detector(self) -> None:
        """Raise the UserError of ``make`` in advance if the detector is missing or is not that of the training data."""
        self._finder()

    def _opened(self, place: int, item: Item, box: Box | None, faces: Which) -> _Opened | PhotoFace:
        stored = isinstance(item, np.ndarray) and item.shape == self.shape and box is None
        if stored and faces in ("auto", "whole"):
            return PhotoFace(place, OK, np.array(item))  # copied, since the caller may overwrite it
        photo = as_photo(item, halve=box is None)
        return PhotoFace(place, photo) if isinstance(photo, str) else _Opened(place, photo, box)

    def _in_order(self, held: Sequence[_Opened | PhotoFace], faces: Which) -> Iterator[PhotoFace]:
        """The faces of a batch, in its order: detected ones, pictures that are faces already, and unreadable ones."""
        opened = [picture for picture in held if isinstance(picture, _Opened)]
        if faces == "whole":
            made = iter([[self._whole(picture)] for picture in opened])
        else:
            made = iter(self._found(opened, faces) if opened else [])
        for picture in held:
            yield from next(made) if isinstance(picture, _Opened) else [picture]

    def _found(self, opened: Sequence[_Opened], faces: Which) -> list[list[PhotoFace]]:
        """The faces that a detector finds in each picture."""
        located = locate_faces(
            [picture.photo.image_HWC for picture in opened],
            self._finder(one=faces != "all"),
            boxes=[picture.box for picture in opened],
            margin=self._recipe.margin,
            every=faces == "all",
        )
        return [self._cut(picture, found) for picture, found in zip(opened, located, strict=True)]

    def _cut(self, picture: _Opened, found: Detections | str) -> list[PhotoFace]:
        image_HWC, scale = picture.photo
        if found == "no_face" and self._recipe.align and self._recipe.no_face == "box":
            face = unaligned_face(image_HWC, picture.box, self.shape[0])
            return [PhotoFace(picture.place, OK, self._in_channels(face.image_HWC), face.box_4 * scale, 0.0)]
        if isinstance(found, str):
            return [PhotoFace(picture.place, found)]
        made = []
        for box_4, score, landmarks_52 in zip(*found, strict=True):
            if self._recipe.align:
                face_SS3 = aligned_face(image_HWC, landmarks_52, self.shape[0])
            else:
                face_SS3 = self._square.cut(image_HWC, box_4, landmarks_52, self.shape[0])
            told = (box_4 * scale, float(score), landmarks_52 * scale)
            if isinstance(face_SS3, str):
                made.append(PhotoFace(picture.place, face_SS3, None, *told))
            else:
                made.append(PhotoFace(picture.place, OK, self._landmarked(self._in_channels(face_SS3)), *told))
        return made

    def _whole(self, picture: _Opened) -> PhotoFace:
        """The picture, or the square on its box, as a face."""
        image_HWC = picture.photo.image_HWC
        box_4 = None if picture.box is None else np.asarray(picture.box, np.float64)
        if box_4 is not None and not usable_box(box_4, image_HWC):
            return PhotoFace(picture.place, "bad_box")
        if self._recipe.fit == "whole":
            return PhotoFace(
                picture.place, OK, self._in_channels(whole_face(image_HWC, box_4, self.shape[0]).image_HWC)
            )
        box = () if box_4 is None else tuple(box_4.tolist())
        face = load_square(image_HWC, box, self.shape[0], grey=self._grey)
        if isinstance(face, str):
            return PhotoFace(picture.place, face)
        return PhotoFace(picture.place, OK, self._landmarked(face))

    def _in_channels(self, image_HWC: np.ndarray) -> np.ndarray:
        return grey_face(image_HWC) if self._grey else image_HWC

    def _landmarked(self, face_SSC: np.ndarray) -> np.ndarray:
        """The face with a mask channel or hull crop, if the training faces had one."""
        recipe = self._recipe
        if not (recipe.mask or recipe.hull):
            return face_SSC
        return LandmarkFaces(self._built_detector(), mask=recipe.mask, hull=recipe.hull).make([face_SSC])[0][0]

    def _finder(self, *, one: bool = False) -> Detector:
        """The detector for pictures that may be sideways; ``one``: exactly one face per picture is expected."""
        detector = self._built_detector()
        if self.tries_turns and not self._recipe.try_turns:
            detector = TurningDetector(detector)
        return SecondLook(detector, self._closer) if one and self._closer else detector

    def _built_detector(self) -> Detector:
        if self._detector is None:
            try:
                if self._recipe.detector:
                    self._detector = self._recipe.build_detector(self._model, self.detector_device)
                else:
                    self._detector = build_detector(self._kind, model_path=self._model, device=self.detector_device)
            except UserError as error:
                raise UserError(
                    f"{self._origin}: {error}; faces 'whole' needs none, for pictures that are faces already"
                ) from error
            self._square = self._square_of(self._detector.name)
            if self._kind == "mtcnn" and not self._recipe.detector:  # a recorded detector is used without changes
                self._closer = build_detector("mtcnn", thresholds=THRESHOLDS, device=self.detector_device)
        return self._detector

    def _square_of(self, detector: str) -> FaceSquare:
        """The square to crop around the boxes of a detector; warns where it is unknown."""
        recipe = self._recipe
        if recipe.square is not None:
            return recipe.square.of_detector(detector)
        if not (recipe.align or recipe.hull):
            logger.warning(
                f"{self._origin}: its data set does not say how much its pictures show around a face; photos are cut "
                "to the detector's box; prepare the data again, with facenet-pytorch installed, to have it measured"
            )
        return FaceSquare()
