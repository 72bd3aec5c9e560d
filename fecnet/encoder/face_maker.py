"""Converts pictures to faces as in the training data, a few at a time.

Shape suffixes: H, W pixels of a picture, S pixels a side of a face, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fecnet.encoder.pictures import Item, as_rgb
from fecnet.faces.detect import build_detector, detector_gpu
from fecnet.faces.detections import Detections, Detector
from fecnet.faces.extract import Box, extract_faces, grey_face, usable_box, whole_face
from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.square_faces import load_square
from fecnet.faces.turns import TurningDetector
from fecnet.utils.errors import UserError

_BATCH = 8  # pictures per call of the detector
_BATCH_PIXELS = 40_000_000  # fewer if they are larger: bounds memory to 120 MB and the last picture

Picture = tuple[Item, Box | None]
Made = list[np.ndarray | str]  # uint8 (S, S, C) each, or a key of STATUS
_Held = tuple[np.ndarray, Box | None] | np.ndarray | str  # a picture, a face or a key of STATUS
_MakeFaces = Callable[[Sequence[np.ndarray], Sequence[Box | None]], Made]


class FaceMaker:
    """Converts pictures to faces as ``fecnet prepare`` does.

    Args:
        size: S.
        channels: of the stored faces, in order.
        recipe: how the faces of the training data were made.
        origin: the checkpoint, for errors.
        detector_model: YuNet's ``.onnx`` file, if it was the detector; without a detector in training, ``find`` uses it
            instead of MTCNN.
        detector_device: where MTCNN runs.
        try_turns: turn pictures without a face, even if that was not done with the training faces.

    Raises:
        UserError: a detector device that is not there.

    Attributes:
        shape: of a stored face: S, S, C.
        channels: their names in order.
        aligned: the training faces were aligned.
        tries_turns: pictures in which no face is found are turned.
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
        self.aligned = recipe.align
        self._model, self.detector_device = detector_model, detector_device
        self.tries_turns = try_turns or recipe.try_turns
        self._grey = channels[0] == "grey"
        self._detector: Detector | None = None
        self._kind = recipe.detector or ("yunet" if detector_model else "mtcnn")
        if detector_device != "cpu":  # told now, although there may be nothing to detect
            detector_gpu(self._kind, detector_device)

    def make(self, pictures: Iterable[Picture], *, align: bool) -> Iterator[np.ndarray | str]:
        """The face of each picture in turn; at most ``_BATCH`` pictures are held.

        Args:
            pictures: a picture and optionally a box in it, x1, y1, x2, y2 in pixels.
            align: detect the face, in the box if there is one, and align it; else the box is cropped as in data sets
                with boxes, and without a box the picture is the face.

        Returns:
            uint8, shape (S, S, C) each, or a key of ``STATUS``.

        Raises:
            UserError: not a picture; ``align``, but the training faces were not aligned or the detector is missing.
        """
        make_faces = self._face_function(align)
        held: list[_Held] = []
        pixels = 0
        for item, box in pictures:
            if isinstance(item, np.ndarray) and item.shape == self.shape and box is None and not align:
                held.append(item.copy())  # already a stored face; copied, since the caller may overwrite it
            else:
                rgb = as_rgb(item, halve=box is None)
                held.append(rgb if isinstance(rgb, str) else (rgb, box))
                pixels += 0 if isinstance(rgb, str) else rgb.shape[0] * rgb.shape[1]
            if len(held) == _BATCH or pixels > _BATCH_PIXELS:
                yield from _in_order(held, make_faces)
                held, pixels = [], 0
        yield from _in_order(held, make_faces)

    def check_align(self) -> None:
        """Raise UserError where ``make`` with ``align`` would."""
        self._face_function(align=True)

    def _face_function(self, align: bool) -> _MakeFaces:
        if align:
            self._check_aligned()
            return self._aligned_by(self._finder())
        return self._crop

    def find(self, image_HWC: np.ndarray) -> Detections:
        """All faces of a picture, uint8 RGB, with the detector of the training data if there was one.

        Raises:
            UserError: the detector is missing, or differs from the recorded one.
        """
        return self._finder().detect(image_HWC)

    def _check_aligned(self) -> None:
        if not self.aligned:
            raise UserError(
                f"{self._origin}: align: the faces it was trained on were not aligned by a detector, but taken as they "
                "were; allowed: pictures cut like those, or boxes without align"
            )

    def _finder(self) -> Detector:
        """The detector for pictures that may lie sideways."""
        detector = self._built_detector()
        return TurningDetector(detector) if self.tries_turns and not self._recipe.try_turns else detector

    def _built_detector(self) -> Detector:
        if self._detector is None:
            try:
                if self._recipe.detector:
                    self._detector = self._recipe.build_detector(self._model, self.detector_device)
                else:
                    self._detector = build_detector(self._kind, model_path=self._model, device=self.detector_device)
            except UserError as error:
                raise UserError(f"{self._origin}: {error}") from error
        return self._detector

    def _aligned_by(self, detector: Detector) -> _MakeFaces:
        recipe = self._recipe

        def aligned(images: Sequence[np.ndarray], boxes: Sequence[Box | None]) -> Made:
            found = extract_faces(
                images, detector, size=self.shape[0], boxes=boxes, margin=recipe.margin, no_face=recipe.no_face
            )
            return [face if isinstance(face, str) else self._in_channels(face.image_HWC) for face in found]

        return aligned

    def _crop(self, images: Sequence[np.ndarray], boxes: Sequence[Box | None]) -> Made:
        made: Made = []
        for image_HWC, box in zip(images, boxes, strict=True):
            box_4 = None if box is None else np.asarray(box, np.float64)
            if box_4 is not None and not usable_box(box_4, image_HWC):
                made.append("bad_box")
            elif self._recipe.fit == "whole":
                made.append(self._in_channels(whole_face(image_HWC, box_4, self.shape[0]).image_HWC))
            else:
                made.append(self._square(image_HWC, box_4))
        return made

    def _in_channels(self, image_HWC: np.ndarray) -> np.ndarray:
        return grey_face(image_HWC) if self._grey else image_HWC

    def _square(self, image_HWC: np.ndarray, box_4: np.ndarray | None) -> np.ndarray | str:
        recipe = self._recipe
        box = () if box_4 is None else tuple(box_4.tolist())
        face = load_square(image_HWC, box, self.shape[0], grey=self._grey)
        if isinstance(face, str) or not (recipe.mask or recipe.hull):
            return face
        landmarks = LandmarkFaces(self._built_detector(), mask=recipe.mask, hull=recipe.hull)
        return landmarks.make([face])[0][0]


def _in_order(held: Sequence[_Held], make_faces: _MakeFaces) -> Iterator[np.ndarray | str]:
    """Faces in order: pictures are converted, stored faces and statuses passed through."""
    pairs = [picture for picture in held if isinstance(picture, tuple)]
    made = iter(make_faces([image_HWC for image_HWC, _ in pairs], [box for _, box in pairs]) if pairs else [])
    for picture in held:
        yield next(made) if isinstance(picture, tuple) else picture
