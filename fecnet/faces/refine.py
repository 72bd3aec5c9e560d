"""What a detector that was made for upright faces gains by looking again: at the photo turned, at each face upright.

Shape suffixes: K faces, 5 points, S side of an upright face.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from PIL import Image

from fecnet.faces.align import invert, similarity_transform, transform_points, warp
from fecnet.faces.detections import Detections, detections, overlap
from fecnet.utils.errors import UserError

TURNS = (-30, 30)  # degrees, counter-clockwise; detectors find faces turned by 15 and more to either side by themselves
_SAME = 0.3  # intersection over union above which two boxes are one face, as YuNet has it
_MIRRORED = [1, 0, 2, 4, 3]  # which point is which in a mirror

# Upright faces, uint8, shape (K, S, S, 3), to their points in pixels, float, shape (K, 5, 2); NaN where there are none.
Placer = Callable[[np.ndarray], np.ndarray]


def look_turned(image_HWC: np.ndarray, detect: Callable[[np.ndarray], Detections]) -> Detections:
    """The faces of a photo and of the same turned by ``TURNS``; of boxes on one face the one of the best score.

    Args:
        image_HWC: uint8, shape (H, W, 3), RGB.
        detect: finds the faces of one photo.

    Returns:
        Boxes, scores and points in the photo as it was. A box found in a turned one keeps its sides and is moved.
    """
    looks = [detect(image_HWC)]
    for degrees in TURNS:
        turned_HWC, matrix_23 = turn(image_HWC, degrees)
        looks.append(_turned_back(detect(turned_HWC), invert(matrix_23)))
    found = detections(*(np.concatenate(parts) for parts in zip(*looks, strict=True)))
    kept: list[int] = []
    for face, box_4 in enumerate(found.boxes_K4):  # best first
        if not (overlap(found.boxes_K4[kept], box_4) > _SAME).any():
            kept.append(face)
    return Detections(*(part[kept] for part in found))


def turn(image_HWC: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo turned counter-clockwise about its centre, nothing cut off, and the matrix that takes its points along.

    Returns:
        uint8, black where the photo is not; the matrix, shape (2, 3), for ``transform_points``.
    """
    turned = Image.fromarray(image_HWC).rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn_22 = np.array([[cosine, sine], [-sine, cosine]])  # y points down
    centre_2 = np.array([image_HWC.shape[1], image_HWC.shape[0]]) / 2
    return np.asarray(turned), np.column_stack([turn_22, np.array(turned.size) / 2 - turn_22 @ centre_2])


def _turned_back(found: Detections, matrix_23: np.ndarray) -> Detections:
    corners_K22 = found.boxes_K4.reshape(-1, 2, 2)
    half_K2 = (corners_K22[:, 1] - corners_K22[:, 0]) / 2
    centre_K2 = transform_points(corners_K22.mean(axis=1), matrix_23)
    boxes_K4 = np.concatenate([centre_K2 - half_K2, centre_K2 + half_K2], axis=1)
    return detections(boxes_K4, found.scores_K, transform_points(found.landmarks_K52, matrix_23))


def place_again(
    image_HWC: np.ndarray,
    landmarks_K52: np.ndarray,
    place: Placer,
    *,
    upright_52: np.ndarray,
    size: int,
    mirror: bool = True,
    quick: bool = False,
) -> np.ndarray:
    """Points placed anew on the faces turned upright by the points they have.

    Args:
        image_HWC: uint8, shape (H, W, 3), RGB.
        landmarks_K52: the points they have, pixels.
        place: finds the points on upright faces.
        upright_52: about where the points are on the faces that ``place`` gets, as fractions of the side.
        size: S, side of those faces, pixels.
        mirror: place them on the mirror image too and take the mean.
        quick: cut the faces out by the ``quick`` way of ``warp``.

    Returns:
        float32, shape (K, 5, 2), pixels of the photo; where ``place`` finds none, the points as they were.
    """
    faces, matrices, upright = [], [], []
    for face, points_52 in enumerate(landmarks_K52):
        with suppress(UserError):  # points that span no face stay as they are
            matrix_23 = similarity_transform(points_52, upright_52 * size)
            upright.append(warp(image_HWC, matrix_23, size, quick=quick))
            faces.append(face)
            matrices.append(matrix_23)
    if not faces:
        return landmarks_K52
    upright_KSS3 = np.stack(upright)
    views = [place(upright_KSS3)]
    if mirror:
        mirrored_K52 = place(np.ascontiguousarray(upright_KSS3[:, :, ::-1]))
        views.append((mirrored_K52 * [-1, 1] + [size, 0])[:, _MIRRORED])
    placed_K52 = np.array(landmarks_K52, np.float32)
    for row, (face, matrix_23) in enumerate(zip(faces, matrices, strict=True)):
        known = [view_K52[row] for view_K52 in views if np.isfinite(view_K52[row]).all()]
        if known:
            placed_K52[face] = transform_points(np.mean(known, axis=0), invert(matrix_23))
    return placed_K52
