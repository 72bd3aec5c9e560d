"""Landmark-based processing of square faces: an additional mask channel, a crop along the landmark hull, or both.

Shape suffixes: N faces, S pixels per side, C channels of the image, 5 landmarks.
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

HULL_MARGIN = 1.0  # the hull of five points, scaled by two, reaches from the brows to the chin
_DETECTOR_SIZE = 160  # pixels: smaller faces are upscaled to this for the detector, which finds faces from 40 pixels on
_CENTRE_BOX = np.array([1, 1, 7, 7]) / 8  # of the square: expected box of the face; large, to avoid parts of a face


@dataclass(frozen=True)
class LandmarkFaces:
    """Detects five landmarks on square faces and adds a mask, crops along their hull, or both.

    Attributes:
        detector: detects the landmarks.
        mask: add a last channel with the ``gaussian_mask`` of the landmarks.
        hull: replace the face by its ``hull_crop``, the landmark hull grown by ``HULL_MARGIN``.

    Raises:
        UserError: neither mask nor hull.
    """

    detector: Detector
    mask: bool = False
    hull: bool = False

    def __post_init__(self) -> None:
        if not (self.mask or self.hull):
            raise UserError("landmarks: neither mask nor hull; choose at least one")

    @property
    def name(self) -> str:
        """The processing and the detector; recorded in data sets."""
        made = [name for name in ("mask", "hull") if getattr(self, name)]
        return f"{' and '.join(made)} by {self.detector.name}"

    @property
    def recipe(self) -> FaceRecipe:
        """The same in machine-readable form, to process new images identically."""
        name = self.detector.name
        return FaceRecipe(mask=self.mask, hull=self.hull, detector=name.split("(")[0], detector_name=name)

    def make(self, faces: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """Process faces; returns them with their landmarks.

        A face without landmarks, or with landmarks that span no face, is unchanged; its mask is zero.

        Args:
            faces: uint8, shape (S, S, C), C of 1 or 3.

        Returns:
            uint8, shape (S, S, C) each, or (S, S, C + 1) with a mask; and float64 landmarks, shape (5, 2), in
            pixels of the result, or None where not found.
        """
        made, points = [], []
        for face_SSC, landmarks_52 in zip(faces, find_points(faces, self.detector), strict=True):
            if self.hull and landmarks_52 is not None:
                face_SSC, landmarks_52 = _cut(face_SSC, landmarks_52)
            made.append(_with_mask(face_SSC, landmarks_52) if self.mask else face_SSC)
            points.append(landmarks_52)
        return made, points


def find_points(faces: Sequence[np.ndarray], detector: Detector) -> list[np.ndarray | None]:
    """Five landmarks of each square face, by one call of the detector.

    Of several faces, the one with the largest overlap with the centre of the image is used.

    Args:
        faces: uint8, shape (S, S, C), C of 1 or 3; those smaller than 160 pixels are upscaled for the detector.
        detector: face detector.

    Returns:
        Pixels of the face, float64, shape (5, 2), in the order of ``TEMPLATE``; None where no face is found.
    """
    inputs = [_detector_input(face_SSC) for face_SSC in faces]
    points: list[np.ndarray | None] = []
    for face_SSC, input_HWC, found in zip(faces, inputs, detector.detect_batch(inputs), strict=True):
        landmarks_52 = _central_landmarks(found, len(input_HWC))
        points.append(None if landmarks_52 is None else landmarks_52 * (len(face_SSC) / len(input_HWC)))
    return points


def _detector_input(face_SSC: np.ndarray) -> np.ndarray:
    """The face in RGB, upscaled if small."""
    colour_SS3 = np.repeat(face_SSC, 3, axis=2) if face_SSC.shape[2] == 1 else face_SSC
    if len(face_SSC) >= _DETECTOR_SIZE:
        return colour_SS3
    return np.asarray(Image.fromarray(colour_SS3).resize((_DETECTOR_SIZE, _DETECTOR_SIZE), Image.Resampling.BICUBIC))


def _central_landmarks(found: Detections, side: int) -> np.ndarray | None:
    best = choose_face(found, _CENTRE_BOX * side)
    return None if best is None else found.landmarks_K52[best].astype(np.float64)


def _cut(face_SSC: np.ndarray, landmarks_52: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The hull crop and its landmarks; the unchanged face and None where the landmarks span no face."""
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
