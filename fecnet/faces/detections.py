"""The interface and output of a face detector, and the choice among several faces.

Shape suffixes: K faces, 5 points (image-left eye, image-right eye, nose tip, image-left and image-right mouth corner).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Detections(NamedTuple):
    """The faces of one photo, best score first; float32, pixels of that photo."""

    boxes_K4: np.ndarray  # x1, y1, x2, y2; may reach beyond the photo
    scores_K: np.ndarray  # 0..1
    landmarks_K52: np.ndarray  # x, y


class Detector(Protocol):
    """Detects faces and their five landmarks."""

    @property
    def name(self) -> str:
        """Name with all settings; recorded in data sets."""

    def detect(self, image_HWC: np.ndarray) -> Detections:
        """The faces of one uint8 RGB photo."""

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The faces of each photo, identical to ``detect``; photos of equal size may be batched."""


def detections(boxes_K4: np.ndarray, scores_K: np.ndarray, landmarks_K52: np.ndarray) -> Detections:
    """``Detections`` of the right shapes, even if empty, sorted by descending score, then from left to right and down.

    The order, and so the choice among equally large faces, then does not depend on the order of detection.
    """
    boxes_K4 = np.asarray(boxes_K4, np.float32).reshape(-1, 4)
    scores_K = np.asarray(scores_K, np.float32).reshape(-1)
    order_K = np.lexsort((*boxes_K4.T[::-1], -scores_K))
    return Detections(
        boxes_K4[order_K], scores_K[order_K], np.asarray(landmarks_K52, np.float32).reshape(-1, 5, 2)[order_K]
    )


def overlap(boxes_K4: np.ndarray, box_4: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with one box, shape (K,)."""
    sides_K2 = np.minimum(boxes_K4[:, 2:], box_4[2:]) - np.maximum(boxes_K4[:, :2], box_4[:2])
    common_K = sides_K2.clip(0).prod(axis=1)
    return common_K / (_area(boxes_K4) + _area(box_4) - common_K)


def choose_face(found: Detections, box_4: np.ndarray | None = None, *, min_overlap: float = 0.0) -> int | None:
    """Choose one face of a photo.

    Args:
        found: the faces of a photo.
        box_4: expected location; x1, y1, x2, y2 in pixels.
        min_overlap: minimum intersection over union with the box.

    Returns:
        Index of the face with the largest overlap with the box, or None if none overlaps it enough; without a box, of
        the largest face, or None if there is none.
    """
    if len(found.boxes_K4) == 0:
        return None
    if box_4 is None:
        return int(_area(found.boxes_K4).argmax())
    overlap_K = overlap(found.boxes_K4, np.asarray(box_4))
    best = int(overlap_K.argmax())
    return best if overlap_K[best] > 0 and overlap_K[best] >= min_overlap else None


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(axis=-1)
