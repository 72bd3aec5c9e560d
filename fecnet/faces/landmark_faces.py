"""What landmarks make of square faces: a further channel with a mask, a crop along the hull, or both.

Shape suffixes: N faces, S pixels a side, C channels of the picture, 5 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fecnet.faces.detections import Detections, Detector, choose_face
from fecnet.faces.landmarks import gaussian_mask, hull_crop, hull_square
from fecnet.faces.recipe import FaceRecipe
from fecnet.utils.errors import UserError

HULL_MARGIN = 1.0  # the hull of five points, twice as large, reaches from the brows to the chin
_SEEN = 160  # pixels: smaller faces are enlarged to this for the detector, which looks for faces of 40 and more
_MIDDLE = np.array([1, 1, 7, 7]) / 8  # of the square: where the face is; wide, so that it is not a part of one


@dataclass(frozen=True)
class LandmarkFaces:
    """Finds five points on square faces and makes of them what is wanted.

    Attributes:
        detector: finds the points.
        mask: add a last channel with the ``gaussian_mask`` of the points.
        hull: show the ``hull_crop`` alone, five points' hull grown by ``HULL_MARGIN``.

    Raises:
        UserError: nothing is wanted.
    """

    detector: Detector
    mask: bool = False
    hull: bool = False

    def __post_init__(self) -> None:
        if not (self.mask or self.hull):
            raise UserError("landmarks: neither mask nor hull; choose at least one")

    @property
    def name(self) -> str:
        """What was made with which detector; recorded in data sets made with it."""
        made = [name for name in ("mask", "hull") if getattr(self, name)]
        return f"{' and '.join(made)} by {self.detector.name}"

    @property
    def recipe(self) -> FaceRecipe:
        """The same, for a program: what makes a new picture likewise."""
        name = self.detector.name
        return FaceRecipe(mask=self.mask, hull=self.hull, detector=name.split("(")[0], detector_name=name)

    def make(self, faces: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """The faces with what is wanted, and where their points are now.

        A face on which no points are found, or points that span no face, stays as it is; its mask is zero everywhere.

        Args:
            faces: uint8, shape (S, S, C), C of 1 or 3.

        Returns:
            uint8, shape (S, S, C) each, or (S, S, C + 1) with a mask; and float64 points, shape (5, 2), pixels of
            that picture, or None where they were not found.
        """
        made, points = [], []
        for face_SSC, landmarks_52 in zip(faces, find_points(faces, self.detector), strict=True):
            if self.hull and landmarks_52 is not None:
                face_SSC, landmarks_52 = _cut(face_SSC, landmarks_52)
            made.append(_with_mask(face_SSC, landmarks_52) if self.mask else face_SSC)
            points.append(landmarks_52)
        return made, points


def find_points(faces: Sequence[np.ndarray], detector: Detector) -> list[np.ndarray | None]:
    """Five points on each square face, by one call of the detector.

    Where it finds several faces, the one that overlaps the middle of the picture most is taken.

    Args:
        faces: uint8, shape (S, S, C), C of 1 or 3; those smaller than 160 pixels are enlarged for the detector.
        detector: finds them.

    Returns:
        Pixels of the face, float64, shape (5, 2), in the order of ``TEMPLATE``; None where no face is found.
    """
    seen = [_shown(face_SSC) for face_SSC in faces]
    points: list[np.ndarray | None] = []
    for face_SSC, shown_HWC, found in zip(faces, seen, detector.detect_batch(seen), strict=True):
        landmarks_52 = _middle_points(found, len(shown_HWC))
        points.append(None if landmarks_52 is None else landmarks_52 * (len(face_SSC) / len(shown_HWC)))
    return points


def _shown(face_SSC: np.ndarray) -> np.ndarray:
    """What the detector sees: colour, and large enough."""
    colour_SS3 = np.repeat(face_SSC, 3, axis=2) if face_SSC.shape[2] == 1 else face_SSC
    if len(face_SSC) >= _SEEN:
        return colour_SS3
    return np.asarray(Image.fromarray(colour_SS3).resize((_SEEN, _SEEN), Image.Resampling.BICUBIC))


def _middle_points(found: Detections, side: int) -> np.ndarray | None:
    best = choose_face(found, _MIDDLE * side)
    return None if best is None else found.landmarks_K52[best].astype(np.float64)


def _cut(face_SSC: np.ndarray, landmarks_52: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The crop and the points in it; the face as it is, and None, where the points span none."""
    size = len(face_SSC)
    try:
        crop_SSC = hull_crop(face_SSC, landmarks_52, size, HULL_MARGIN)
    except UserError:
        return face_SSC, None
    corner_2, side = hull_square(landmarks_52, HULL_MARGIN)
    return crop_SSC, (landmarks_52 - corner_2) * (size / side)


def _with_mask(face_SSC: np.ndarray, landmarks_52: np.ndarray | None) -> np.ndarray:
    mask_SS = np.zeros(face_SSC.shape[:2], np.uint8)
    if landmarks_52 is not None:
        mask_SS = gaussian_mask(landmarks_52, *face_SSC.shape[:2])
    return np.dstack([face_SSC, mask_SS])
