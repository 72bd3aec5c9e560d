"""Faces that are sideways or upside down in photos without EXIF orientation: detection on photos rotated by 90° steps.

Rotations are in degrees, counter-clockwise. The turn of a face is the rotation of the photo that shows it upright.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fecnet.faces.align import align_matrix, invert, transform_points
from fecnet.faces.detections import Detections, Detector
from fecnet.faces.refine import rotate
from fecnet.utils.errors import UserError

QUARTERS = (90, 270, 180)


class TurningDetector:
    """A ``Detector`` that rotates photos in which another one finds no face, and keeps the best-scoring rotation.

    Args:
        detector: the other detector.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    @property
    def name(self) -> str:
        """Name of the other detector, and the rotations."""
        return f"{self._detector.name}, else turned by {'/'.join(map(str, QUARTERS))}"

    def detect(self, image_HWC: np.ndarray) -> Detections:
        """The faces of one uint8 RGB photo, boxes and landmarks in its pixels."""
        return self.detect_batch([image_HWC])[0]

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The faces of each photo, identical to ``detect``."""
        found = self._detector.detect_batch(images)
        return [faces if len(faces.scores_K) else self._turned(images[row]) for row, faces in enumerate(found)]

    def _turned(self, image_HWC: np.ndarray) -> Detections:
        """The faces of a photo without upright ones."""
        turned = [rotate(image_HWC, degrees) for degrees in QUARTERS]
        found = self._detector.detect_batch([photo_HWC for photo_HWC, _ in turned])
        best = max(range(len(QUARTERS)), key=lambda k: found[k].scores_K.max(initial=0))
        boxes_K4 = transform_boxes(found[best].boxes_K4, invert(turned[best][1]))
        points_K52 = transform_points(found[best].landmarks_K52, invert(turned[best][1]))
        return Detections(boxes_K4, found[best].scores_K, points_K52.astype(np.float32))


def transform_boxes(boxes_K4: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    """Boxes in a photo rotated by a multiple of 90°, from those in the photo and the transform of its points.

    Args:
        boxes_K4: x1, y1, x2, y2 in pixels, shape (K, 4).
        matrix_23: the transform, shape (2, 3).

    Returns:
        float32, shape (K, 4).
    """
    corners_K22 = transform_points(boxes_K4.reshape(-1, 2, 2), matrix_23)
    return np.concatenate([corners_K22.min(axis=1), corners_K22.max(axis=1)], axis=1).astype(np.float32)


def upright(image_HWC: np.ndarray, box_4: np.ndarray, landmarks_52: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The photo rotated by a multiple of 90° so that a face in it is upright, and the face's box there, shape (4,)."""
    turn = quarter_turn(landmarks_52)
    if not turn:
        return image_HWC, box_4
    turned_HWC, matrix_23 = rotate(image_HWC, turn)
    return turned_HWC, transform_boxes(box_4[None], matrix_23)[0]


def quarter_turn(landmarks_52: np.ndarray) -> int:
    """The turn of a face to the nearest 90°: 0, 90, 180 or 270; 0 where its landmarks span no face."""
    try:
        (along, _, _), (across, _, _) = align_matrix(landmarks_52, 1)
    except UserError:
        return 0
    return -round(math.degrees(math.atan2(across, along)) / 90) % 4 * 90
