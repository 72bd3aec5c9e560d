"""Refinement for detectors trained on upright faces: detection on the rotated photo, landmarks on upright faces.

Shape suffixes: K faces, 5 landmarks, S side of an upright face.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from PIL import Image

from fecnet.faces.align import invert, similarity_transform, transform_points, warp
from fecnet.faces.detections import Detections, detections, overlap
from fecnet.utils.errors import UserError

TURNS = (-30, 30)  # degrees, counter-clockwise; detectors find faces rotated by 15 degrees or more without this
_SAME = 0.3  # intersection over union above which two boxes are one face, as in YuNet
_MIRRORED = [1, 0, 2, 4, 3]  # order of the landmarks in a mirror image

# Maps upright faces, uint8, shape (K, S, S, 3), to landmarks in pixels, float, shape (K, 5, 2); NaN where not found.
LandmarkNet = Callable[[np.ndarray], np.ndarray]


def detect_rotated(
    image_HWC: np.ndarray,
    detect: Callable[[np.ndarray], Detections],
    *,
    turns: Sequence[float] = TURNS,
    upright: Detections | None = None,
) -> Detections:
    """Detect the faces of a photo and of its rotations; of overlapping boxes the best score is kept.

    Args:
        image_HWC: uint8, shape (H, W, 3), RGB.
        detect: detects the faces of one photo.
        turns: degrees, counter-clockwise.
        upright: the faces of the unrotated photo, where they are known already.

    Returns:
        Boxes, scores and landmarks in the original photo. A box found in a rotated photo keeps its size; its centre is
        transformed.
    """
    results = [detect(image_HWC) if upright is None else upright]
    for degrees in turns:
        rotated_HWC, matrix_23 = rotate(image_HWC, degrees)
        results.append(_rotate_back(detect(rotated_HWC), invert(matrix_23)))
    found = detections(*(np.concatenate(parts) for parts in zip(*results, strict=True)))
    kept: list[int] = []
    for face, box_4 in enumerate(found.boxes_K4):  # best first
        if not (overlap(found.boxes_K4[kept], box_4) > _SAME).any():
            kept.append(face)
    return Detections(*(part[kept] for part in found))


def rotate(image_HWC: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotate a photo counter-clockwise about its centre, expanding the canvas.

    Returns:
        The photo, uint8, padded with black; its transform, shape (2, 3), for ``transform_points``.
    """
    rotated = Image.fromarray(image_HWC).rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation_22 = np.array([[cosine, sine], [-sine, cosine]])  # y points down
    centre_2 = np.array([image_HWC.shape[1], image_HWC.shape[0]]) / 2
    return np.asarray(rotated), np.column_stack([rotation_22, np.array(rotated.size) / 2 - rotation_22 @ centre_2])


def _rotate_back(found: Detections, matrix_23: np.ndarray) -> Detections:
    corners_K22 = found.boxes_K4.reshape(-1, 2, 2)
    half_K2 = (corners_K22[:, 1] - corners_K22[:, 0]) / 2
    centre_K2 = transform_points(corners_K22.mean(axis=1), matrix_23)
    boxes_K4 = np.concatenate([centre_K2 - half_K2, centre_K2 + half_K2], axis=1)
    return detections(boxes_K4, found.scores_K, transform_points(found.landmarks_K52, matrix_23))


def refine_landmarks(
    image_HWC: np.ndarray,
    landmarks_K52: np.ndarray,
    predict: LandmarkNet,
    *,
    upright_52: np.ndarray,
    size: int,
    mirror: bool = True,
    quick: bool = False,
) -> np.ndarray:
    """Predict landmarks again on faces rotated upright by their present landmarks.

    Args:
        image_HWC: uint8, shape (H, W, 3), RGB.
        landmarks_K52: present landmarks, pixels, shape (K, 5, 2).
        predict: landmark net for upright faces.
        upright_52: approximate landmarks on the input of ``predict``, as fractions of its side, shape (5, 2).
        size: S, side of that input, pixels.
        mirror: predict on the mirror image too, and average.
        quick: crop by the ``quick`` mode of ``warp``.

    Returns:
        float32, shape (K, 5, 2), pixels of the photo; the present landmarks where ``predict`` finds none.
    """
    faces, matrices, upright = [], [], []
    for face, points_52 in enumerate(landmarks_K52):
        with suppress(UserError):  # landmarks that span no face are kept
            matrix_23 = similarity_transform(points_52, upright_52 * size)
            upright.append(warp(image_HWC, matrix_23, size, quick=quick))
            faces.append(face)
            matrices.append(matrix_23)
    if not faces:
        return landmarks_K52
    upright_KSS3 = np.stack(upright)
    if mirror:
        both = predict(np.concatenate([upright_KSS3, upright_KSS3[:, :, ::-1]]))
        views = [both[: len(faces)], (both[len(faces) :] * [-1, 1] + [size, 0])[:, _MIRRORED]]
    else:
        views = [predict(upright_KSS3)]
    refined_K52 = np.array(landmarks_K52, np.float32)
    for row, (face, matrix_23) in enumerate(zip(faces, matrices, strict=True)):
        known = [view_K52[row] for view_K52 in views if np.isfinite(view_K52[row]).all()]
        if known:
            refined_K52[face] = transform_points(np.mean(known, axis=0), invert(matrix_23))
    return refined_K52
