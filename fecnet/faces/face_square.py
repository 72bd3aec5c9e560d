"""The square that training pictures show around a face, relative to a detector's box; crops photos to the same square.

Shape suffixes: N pictures, H, W pixels of a picture, S pixels per side, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from fecnet.faces.align import align_matrix, warp
from fecnet.faces.detections import Detector, choose_face
from fecnet.utils.errors import UserError

_SAMPLE = 200  # pictures measured: the median side is then within 1 % of the median of all pictures
_BATCH = 8
LEAST_FOUND = 20  # faces; with fewer, or in fewer than half of the pictures, the square is unknown
_BOX_SIDE = {"mtcnn": 1.04, "yunet": 1.01}  # on the same pictures: benchmarks/results/boxes.json, mean of both sets
_SIDE, _BORDER = 192, 48  # pixels: pictures are enlarged and bordered, so that boxes may reach beyond them


@dataclass(frozen=True)
class FaceSquare:
    """A square relative to a detector's box, on the face rotated upright by its landmarks.

    The unit of length is the longer side of the box. ``side``, ``x`` and ``y`` are medians over training pictures.

    Attributes:
        detector: name of the detector with its settings; empty where nothing was measured.
        side: side of the square.
        x: offset of the square's centre from that of the box, to the right.
        y: offset downwards.
        found: number of training pictures in which the detector found a face.
        seen: number of training pictures that the detector processed.
    """

    detector: str = ""
    side: float = 1.0
    x: float = 0.0
    y: float = 0.0
    found: int = 0
    seen: int = 0

    def of_detector(self, name: str) -> FaceSquare:
        """The same square relative to the boxes of another detector; unchanged for a detector of unknown box size."""
        ours, other = (_BOX_SIDE.get(detector.split("(")[0]) for detector in (self.detector, name))
        if ours is None or other is None:
            return self
        times = ours / other
        return replace(self, detector=name, side=self.side * times, x=self.x * times, y=self.y * times)

    def cut(self, image_HWC: np.ndarray, box_4: np.ndarray, landmarks_52: np.ndarray, size: int) -> np.ndarray | str:
        """Crop the square of one face, rotated upright, padded with edge pixels.

        Args:
            image_HWC: uint8, shape (H, W, 3).
            box_4: x1, y1, x2, y2 of the detector, pixels.
            landmarks_52: landmarks of the detector, pixels, shape (5, 2).
            size: S.

        Returns:
            uint8, shape (S, S, 3), antialiased; or ``bad_points`` where box and landmarks span no face.
        """
        try:
            turn_22, side, centre_2 = _upright_box(box_4, landmarks_52)
            scale = size / (self.side * side)
            middle_2 = turn_22 @ centre_2 + np.array([self.x, self.y]) * side
            matrix_23 = np.column_stack([turn_22 * scale, size / 2 - middle_2 * scale])
            return warp(image_HWC, matrix_23, size)
        except UserError:  # one face of many must not end the run
            return "bad_points"


def measure_square(faces_NHWC: np.ndarray, detector: Detector) -> FaceSquare | None:
    """Measure what square training pictures show around a face, relative to the boxes of a detector.

    Args:
        faces_NHWC: uint8, shape (N, S, S, C), C of 1 or 3; a sample of them is measured.
        detector: face detector.

    Returns:
        Medians over the faces found; None where too few are found.
    """
    rows = np.random.default_rng(0).permutation(len(faces_NHWC))[:_SAMPLE]
    measured: list[tuple[float, float, float]] = []
    for first in range(0, len(rows), _BATCH):
        pictures = [_bordered(faces_NHWC[row]) for row in rows[first : first + _BATCH]]
        for found in detector.detect_batch(pictures):
            best = choose_face(found, np.array([_BORDER, _BORDER, _BORDER + _SIDE, _BORDER + _SIDE]))
            if best is not None:
                measured += _measured(found.boxes_K4[best], found.landmarks_K52[best])
        if first + _BATCH >= 4 * _BATCH and len(measured) < _BATCH // 2:
            return None  # the detector does not recognise these pictures as faces
    if len(measured) < max(LEAST_FOUND, len(rows) / 2):
        return None
    side, x, y = np.median(np.array(measured), axis=0).round(4).tolist()
    return FaceSquare(detector.name, side, x, y, found=len(measured), seen=len(rows))


def _measured(box_4: np.ndarray, landmarks_52: np.ndarray) -> list[tuple[float, float, float]]:
    """Side and offset of the picture without its border, for one face in it; empty where the landmarks span no face."""
    try:
        turn_22, side, centre_2 = _upright_box(box_4, landmarks_52)
    except UserError:
        return []
    x, y = (turn_22 @ (_BORDER + _SIDE / 2 - centre_2) / side).tolist()
    return [(_SIDE / side, x, y)]


def _upright_box(box_4: np.ndarray, landmarks_52: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The rotation that turns the face upright, the side of its box, and the box's centre.

    Raises:
        UserError: the landmarks span no face, or the box is empty.
    """
    along, across = align_matrix(landmarks_52, 1)[:, 0].tolist()
    norm = math.hypot(along, across)
    side = float((box_4[2:] - box_4[:2]).max())
    if not (norm > 0 and side > 0):
        raise UserError("box or landmarks span no face")
    turn_22 = np.array([[along, -across], [across, along]]) / norm
    return turn_22, side, (box_4[:2].astype(np.float64) + box_4[2:]) / 2


def _bordered(face_SSC: np.ndarray) -> np.ndarray:
    """A picture as a detector's input: RGB, enlarged, with a border of repeated edge pixels."""
    colour_SS3 = np.repeat(face_SSC, 3, axis=2) if face_SSC.shape[2] == 1 else face_SSC
    large = Image.fromarray(np.ascontiguousarray(colour_SS3)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large), ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)), mode="edge")
