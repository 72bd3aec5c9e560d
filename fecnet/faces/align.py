"""Alignment: from five landmarks to an upright face of fixed size; square crops.

Coordinates are continuous pixels, x then y: the top-left pixel covers 0..1 and has its centre at 0.5. Crops
beyond the photo are padded with its nearest edge pixel.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from fecnet.utils.errors import UserError

# Landmarks of the aligned face, as fractions of its side: image-left eye, image-right eye, nose tip, image-left and
# image-right mouth corner. The proportions are those of the ArcFace template (arXiv:1801.07698) made symmetric; eyes
# 0.30 apart instead of 0.31 and higher up, so that brows and chin, which carry expression, stay inside.
TEMPLATE = np.array([[0.35, 0.38], [0.65, 0.38], [0.50, 0.55], [0.375, 0.725], [0.625, 0.725]])
TEMPLATE.setflags(write=False)

_LARGEST_SQUARE = 8192  # pixels: 200 MB
MOST_SIDES = 4  # a crop larger than this many times the photo's longer side has wrong landmarks or a wrong box


def similarity_transform(from_P2: np.ndarray, to_P2: np.ndarray) -> np.ndarray:
    """Least-squares similarity transform between point sets, without reflection (Umeyama 1991).

    Args:
        from_P2: points, shape (P, 2), P ≥ 2.
        to_P2: their targets, shape (P, 2).

    Returns:
        float64 matrix, shape (2, 3), for ``transform_points``.

    Raises:
        UserError: the points are not finite, or all coincide.
    """
    source_P2, target_P2 = np.asarray(from_P2, np.float64), np.asarray(to_P2, np.float64)
    if not (np.isfinite(source_P2).all() and np.isfinite(target_P2).all()):
        raise UserError("landmarks are not finite numbers")
    source_mean, target_mean = source_P2.mean(axis=0), target_P2.mean(axis=0)
    centred_P2 = source_P2 - source_mean
    variance = (centred_P2**2).sum()
    if variance <= 1e-12:
        raise UserError("landmarks all coincide")
    # In 2-D, the best rotation and scale have a closed form: as complex numbers, one division.
    wanted_P2 = target_P2 - target_mean
    along = (centred_P2 * wanted_P2).sum() / variance
    across = (centred_P2[:, 0] * wanted_P2[:, 1] - centred_P2[:, 1] * wanted_P2[:, 0]).sum() / variance
    turn = np.array([[along, -across], [across, along]])
    return np.column_stack([turn, target_mean - turn @ source_mean])


def transform_points(points_P2: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    """Transform points, shape (P, 2), by a matrix of ``similarity_transform``."""
    return points_P2 @ matrix_23[:, :2].T + matrix_23[:, 2]


def invert(matrix_23: np.ndarray) -> np.ndarray:
    """The inverse transform, shape (2, 3)."""
    back = np.linalg.inv(matrix_23[:, :2])
    return np.column_stack([back, -back @ matrix_23[:, 2]])


def align_matrix(landmarks_52: np.ndarray, size: int) -> np.ndarray:
    """The transform, shape (2, 3), of five landmarks of a photo to the template in a face of ``size`` pixels."""
    return similarity_transform(landmarks_52, TEMPLATE * size)


def align_face(image_HWC: np.ndarray, landmarks_52: np.ndarray, size: int) -> np.ndarray:
    """Align a face to the template by a similarity transform of its five landmarks.

    Args:
        image_HWC: uint8, shape (H, W, 3).
        landmarks_52: landmarks in the order of ``TEMPLATE``, pixels, shape (5, 2).
        size: side of the result, pixels.

    Returns:
        uint8, shape (size, size, 3). Downscaling is antialiased.

    Raises:
        UserError: the landmarks are not finite, all coincide, or are far from a face, such as mirrored ones.
    """
    return warp(image_HWC, align_matrix(landmarks_52, size), size)


def warp(image_HWC: np.ndarray, matrix_23: np.ndarray, size: int, *, quick: bool = False) -> np.ndarray:
    """Warp a photo by a similarity transform into ``size`` × ``size`` pixels; see ``align_face``.

    Enlarging is bicubic. Shrinking averages bilinear samples that are at most one pixel of the photo apart; this is
    closer to the mean over a pixel's area than bicubic samples, and faster.

    Args:
        image_HWC: uint8, shape (H, W, 3).
        matrix_23: transform of the photo's points to those of the result, shape (2, 3).
        size: side of the result, pixels.
        quick: always bilinear, with samples up to two pixels apart: sufficient for landmark detection.

    Returns:
        uint8, shape (size, size, 3).

    Raises:
        UserError: the crop would be far larger than the photo.
    """
    if size > MOST_SIDES * max(image_HWC.shape[:2]) * math.hypot(matrix_23[0, 0], matrix_23[1, 0]):
        raise UserError(f"landmarks span no face: its crop is more than {MOST_SIDES} photos wide")
    turn, shift = np.split(invert(matrix_23), [2], axis=1)
    shift = shift[:, 0]
    corners_42 = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ turn.T + shift
    left, top = np.floor(corners_42.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(corners_42.max(axis=0)).astype(int) + 2
    part = Image.fromarray(_edge_filled(image_HWC, left, top, right, bottom))
    shift = shift - (left, top)
    pixels = math.hypot(turn[0, 0], turn[1, 0])  # pixels of the photo per pixel of the result
    method = Image.Resampling.BILINEAR if quick or pixels > 1 else Image.Resampling.BICUBIC
    if pixels >= 4:  # averages whole blocks first, which is fast for large photos
        block = int(pixels / 2)
        part, turn, shift, pixels = part.reduce(block), turn / block, shift / block, pixels / block
    # samples per side of an output pixel, so that every pixel of the photo contributes
    fine = max(1, math.floor(pixels) if quick else math.ceil(pixels))
    rows = np.column_stack([turn / fine, shift])
    sampled = part.transform((size * fine, size * fine), Image.Transform.AFFINE, tuple(rows.ravel()), method)
    return np.array(sampled.reduce(fine))


def crop_box(image_HWC: np.ndarray, box_4: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Crop a square around a box, resized with antialiasing.

    Args:
        image_HWC: uint8, shape (H, W, 3).
        box_4: x1, y1, x2, y2 in pixels.
        margin: added on each side of the square, as a fraction of the box's longer side.
        size: side of the result, pixels.

    Returns:
        uint8, shape (size, size, 3).

    Raises:
        UserError: the box is empty or not finite.
    """
    x1, y1, x2, y2 = square_box(box_4, margin)
    if x2 - x1 > _LARGEST_SQUARE:  # for a huge photo: averages whole blocks first, which bounds memory
        block = math.ceil(2 * (x2 - x1) / _LARGEST_SQUARE)
        image_HWC = np.array(Image.fromarray(image_HWC).reduce(block))
        x1, y1, x2, y2 = (edge / block for edge in (x1, y1, x2, y2))
    left, top = math.floor(x1), math.floor(y1)
    part = Image.fromarray(_edge_filled(image_HWC, left, top, math.ceil(x2) + 1, math.ceil(y2) + 1))
    exact = (x1 - left, y1 - top, x2 - left, y2 - top)
    return np.array(part.resize((size, size), Image.Resampling.BICUBIC, box=exact, reducing_gap=3.0))


def square_box(box_4: np.ndarray, margin: float) -> tuple[float, float, float, float]:
    """The square with the box's centre and its longer side, plus ``margin`` of that side on each side.

    Raises:
        UserError: the box is empty or not finite.
    """
    x1, y1, x2, y2 = (float(edge) for edge in box_4)
    if not (np.isfinite([x1, y1, x2, y2]).all() and x2 > x1 and y2 > y1):
        raise UserError(f"box {x1:g}, {y1:g}, {x2:g}, {y2:g} is empty; expected x1 < x2 and y1 < y2")
    half = max(x2 - x1, y2 - y1) * (0.5 + margin)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half, y - half, x + half, y + half


def _edge_filled(image_HWC: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Rows top..bottom and columns left..right of the photo, padded with its edge pixels."""
    height, width = image_HWC.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return image_HWC[top:bottom, left:right]
    rows = np.arange(top, bottom).clip(0, height - 1)
    columns = np.arange(left, right).clip(0, width - 1)
    return image_HWC.take(rows, axis=0).take(columns, axis=1)
