"""From pictures to faces as the training data have them, a few at a time.

Shape suffixes: H, W pixels of a picture, S pixels a side of a face, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fecnet.encoder.pictures import Item, as_rgb
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detections, Detector
from fecnet.faces.extract import Box, extract_faces, usable_box, whole_face
from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.square_faces import load_square
from fecnet.utils.errors import UserError

_TOGETHER = 8  # pictures that the detector sees at once
_TOGETHER_PIXELS = 40_000_000  # fewer where they are larger: bounds memory, 120 MB and the last picture

Picture = tuple[Item, Box | None]
Made = list[np.ndarray | str]  # uint8 (S, S, C) each, or a key of STATUS
_Held = tuple[np.ndarray, Box | None] | np.ndarray | str  # a picture, a face or a key of STATUS
_Together = Callable[[Sequence[np.ndarray], Sequence[Box | None]], Made]


class FaceMaker:
    """Makes of pictures what ``fecnet prepare`` makes of them.

    Args:
        size: S.
        channels: of the stored faces, in order.
        recipe: how the faces of the training data were made.
        origin: the checkpoint, for errors.
        detector_model: YuNet's ``.onnx`` file, where the faces were found with it; where they were found with no
            detector, ``find`` uses it instead of MTCNN.
        detector_device: where MTCNN runs.

    Attributes:
        shape: of a stored face: S, S, C.
        channels: their names in order.
        aligned: the training faces were aligned.
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
    ) -> None:
        self.shape, self.channels = (size, size, len(channels)), tuple(channels)
        self._recipe, self._origin = recipe, origin
        self.aligned = recipe.align
        self._model, self.detector_device = detector_model, detector_device
        self._grey = channels[0] == "grey"
        self._detector: Detector | None = None

    def make(self, pictures: Iterable[Picture], *, align: bool) -> Iterator[np.ndarray | str]:
        """The face of each picture in turn; at most ``_TOGETHER`` pictures are held.

        Args:
            pictures: a picture, and perhaps the box in it, x1, y1, x2, y2 in pixels.
            align: find the face, in the box where there is one, and align it; else the box is cut out as data sets
                with boxes are, and without one the picture is a face as it is.

        Returns:
            uint8, shape (S, S, C) each, or a key of ``STATUS``.

        Raises:
            UserError: no picture at all; or ``align``, and the training faces were not, or the detector is missing.
        """
        together = self._together(align)
        held: list[_Held] = []
        pixels = 0
        for item, box in pictures:
            if isinstance(item, np.ndarray) and item.shape == self.shape and box is None and not align:
                held.append(item.copy())  # a face just as the data set stores it; the caller may write over his
            else:
                seen = as_rgb(item)
                held.append(seen if isinstance(seen, str) else (seen, box))
                pixels += 0 if isinstance(seen, str) else seen.shape[0] * seen.shape[1]
            if len(held) == _TOGETHER or pixels > _TOGETHER_PIXELS:
                yield from _in_order(held, together)
                held, pixels = [], 0
        yield from _in_order(held, together)

    def check_align(self) -> None:
        """Raise UserError where ``make`` with ``align`` would."""
        self._together(align=True)

    def _together(self, align: bool) -> _Together:
        if align:
            self._check_aligned()
            return self._aligned_by(self._built_detector())
        return self._as_they_are

    def find(self, image_HWC: np.ndarray) -> Detections:
        """All faces of a picture, uint8 RGB, with the detector of the training data where one was at work.

        Raises:
            UserError: the detector is missing, or is another one than was recorded.
        """
        return self._built_detector().detect(image_HWC)

    def _check_aligned(self) -> None:
        if not self.aligned:
            raise UserError(
                f"{self._origin}: align: the faces it was trained on were not aligned by a detector, but taken as they "
                "were; allowed: pictures cut like those, or boxes without align"
            )

    def _built_detector(self) -> Detector:
        if self._detector is None:
            try:
                if self._recipe.detector:
                    self._detector = self._recipe.build_detector(self._model, self.detector_device)
                else:
                    name = "yunet" if self._model else "mtcnn"
                    self._detector = build_detector(name, model_path=self._model, device=self.detector_device)
            except UserError as error:
                raise UserError(f"{self._origin}: {error}") from error
        return self._detector

    def _aligned_by(self, detector: Detector) -> _Together:
        recipe = self._recipe

        def aligned(images: Sequence[np.ndarray], boxes: Sequence[Box | None]) -> Made:
            found = extract_faces(
                images, detector, size=self.shape[0], boxes=boxes, margin=recipe.margin, no_face=recipe.no_face
            )
            return [face if isinstance(face, str) else face.image_HWC for face in found]

        return aligned

    def _as_they_are(self, images: Sequence[np.ndarray], boxes: Sequence[Box | None]) -> Made:
        made: Made = []
        for image_HWC, box in zip(images, boxes, strict=True):
            box_4 = None if box is None else np.asarray(box, np.float64)
            if box_4 is not None and not usable_box(box_4, image_HWC):
                made.append("bad_box")
            elif self._recipe.fit == "whole":
                made.append(whole_face(image_HWC, box_4, self.shape[0]).image_HWC)
            else:
                made.append(self._square(image_HWC, box_4))
        return made

    def _square(self, image_HWC: np.ndarray, box_4: np.ndarray | None) -> np.ndarray | str:
        recipe = self._recipe
        box = () if box_4 is None else tuple(box_4.tolist())
        face = load_square(image_HWC, box, self.shape[0], grey=self._grey)
        if isinstance(face, str) or not (recipe.mask or recipe.hull):
            return face
        landmarks = LandmarkFaces(self._built_detector(), mask=recipe.mask, hull=recipe.hull)
        return landmarks.make([face])[0][0]


def _in_order(held: Sequence[_Held], together: _Together) -> Iterator[np.ndarray | str]:
    """The faces of those that are pictures, and the others as they are, in order."""
    pairs = [picture for picture in held if isinstance(picture, tuple)]
    made = iter(together([image_HWC for image_HWC, _ in pairs], [box for _, box in pairs]) if pairs else [])
    for picture in held:
        yield next(made) if isinstance(picture, tuple) else picture
