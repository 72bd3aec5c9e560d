"""Landmark geometry: a crop along the convex hull, and a Gaussian mask around eyes, nose and mouth.

Coordinates are continuous pixels, x then y: the top-left pixel covers 0..1 and has its centre at 0.5. Five points are
both eyes, the nose tip and both mouth corners; 68 points are in the order of the 300-W annotations (iBUG).

Shape suffixes: K points; H, W, C height, width and channels of an image.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from fecnet.utils.errors import UserError

OUTSIDE = 128  # grey value outside the hull: about 0 after subtracting MODEL.MEAN 0.5, so that the edge is weak
MASK_SIGMA = 0.05  # of the image's longer side: about the half width of an eye in an aligned face

_FEATURES = {5: slice(0, 5), 68: slice(27, 68)}  # of the 68: nose, eyes, mouth; not the jaw and the brows
_MAX_SIDES = 2  # maximum side of the hull's square, in units of the image's longer side; beyond it, landmarks are wrong


def convex_hull(points_K2: np.ndarray) -> np.ndarray:
    """Convex hull of points (monotone chain, Andrew 1979).

    Args:
        points_K2: x and y, shape (K, 2).

    Returns:
        float64, shape (M, 2): its vertices, without collinear ones, from the leftmost on, turning from the x axis
        towards the y axis (clockwise on a screen). Two ends for collinear points; one point for coinciding points.
    """
    points = np.unique(np.asarray(points_K2, np.float64), axis=0).tolist()  # sorted by x, then y
    if len(points) < 3:
        return np.array(points).reshape(-1, 2)
    lower, upper = _chain(points), _chain(points[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _chain(points: list[list[float]]) -> list[list[float]]:
    """Lower or upper hull: the points at which the chain turns in one direction only."""
    chain: list[list[float]] = []
    for x, y in points:
        while len(chain) >= 2:
            (x1, y1), (x2, y2) = chain[-2:]
            if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                break
            chain.pop()
        chain.append([x, y])
    return chain


def hull_crop(image_HWC: np.ndarray, landmarks_K2: np.ndarray, size: int, margin: float = 0.1) -> np.ndarray:
    """A square crop of the face within the convex hull of its landmarks; ``OUTSIDE`` elsewhere and beyond the photo.

    The hull of 68 points is the face from the brows to the chin; that of five points only the part between eyes and
    mouth, for which a larger margin (0.5 or more) keeps more of the face.

    Args:
        image_HWC: uint8, shape (H, W, C), any number of channels.
        landmarks_K2: x and y in pixels, K ≥ 3, shape (K, 2).
        size: side of the result, pixels.
        margin: growth of the hull about the centre of its bounding box, as a fraction of its size; 0 = none.

    Returns:
        uint8, shape (size, size, C). The square has the centre and the longer side of the grown hull's bounding box.

    Raises:
        UserError: the landmarks span no area or lie outside of the image, or an argument is out of range.
    """
    if image_HWC.ndim != 3 or image_HWC.dtype != np.uint8:
        raise UserError(f"image is {image_HWC.dtype} of shape {image_HWC.shape}; allowed: uint8 of shape (H, W, C)")
    if size < 1:
        raise UserError(f"size: {size}; allowed: 1 or more")
    if not margin >= 0 or math.isinf(margin):
        raise UserError(f"margin: {margin}; allowed: 0 or more")
    hull_M2 = convex_hull(_checked(landmarks_K2))
    low, high = hull_M2.min(axis=0), hull_M2.max(axis=0)
    corner_2, side = hull_square(hull_M2, margin)
    middle = (low + high) / 2
    hull_M2 = middle + (hull_M2 - middle) * (1 + margin)
    height, width = image_HWC.shape[:2]
    if len(hull_M2) < 3 or _area(hull_M2) < 1e-6 * side**2:
        raise UserError("landmarks lie on one line; a hull needs three points that do not")
    if (high <= 0).any() or (low >= (width, height)).any() or side > _MAX_SIDES * max(height, width):
        raise UserError(f"landmarks span {low.tolist()} to {high.tolist()}; the picture is {width}×{height} pixels")
    crop_SSC = _square(image_HWC, corner_2, side, size)
    return np.where(_inside(hull_M2, corner_2, side / size, size)[..., None], crop_SSC, np.uint8(OUTSIDE))


def hull_square(landmarks_K2: np.ndarray, margin: float) -> tuple[np.ndarray, float]:
    """The square of ``hull_crop``: its top-left corner, shape (2,), and its side, pixels of the photo.

    A point of the photo is at ``(point - corner) * size / side`` in the crop.
    """
    low, high = np.min(landmarks_K2, axis=0), np.max(landmarks_K2, axis=0)
    side = float((high - low).max()) * (1 + margin)
    return (low + high) / 2 - side / 2, side


def _area(hull_M2: np.ndarray) -> float:
    x, y = hull_M2.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _square(image_HWC: np.ndarray, corner: np.ndarray, side: float, size: int) -> np.ndarray:
    """A square crop of the photo, resized with antialiasing, padded with ``OUTSIDE``."""
    left, top = (math.floor(edge) for edge in corner)
    right, bottom = (math.ceil(edge + side) for edge in corner)
    channels = image_HWC.shape[2]
    canvas = np.full((bottom - top, right - left, channels), OUTSIDE, np.uint8)
    part = image_HWC[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    row, column = max(-top, 0), max(-left, 0)
    canvas[row : row + part.shape[0], column : column + part.shape[1]] = part
    box = (corner[0] - left, corner[1] - top, corner[0] - left + side, corner[1] - top + side)
    box = (box[0], box[1], min(box[2], canvas.shape[1]), min(box[3], canvas.shape[0]))  # rounding may pass the edge
    # Channel by channel: Pillow has no mode for colour with mask. Bilinear: other filters overshoot at the border.
    planes = [
        Image.fromarray(np.ascontiguousarray(canvas[..., c])).resize((size, size), Image.Resampling.BILINEAR, box)
        for c in range(channels)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _inside(hull_M2: np.ndarray, corner: np.ndarray, step: float, size: int) -> np.ndarray:
    """Whether the centre of each pixel of the crop is in the polygon or on its edge, bool, shape (size, size)."""
    centre_S = (np.arange(size) + 0.5) * step
    x_1S, y_S1 = corner[0] + centre_S[None, :], corner[1] + centre_S[:, None]
    inside_SS = np.ones((size, size), bool)
    for (x1, y1), (x2, y2) in zip(hull_M2, np.roll(hull_M2, -1, axis=0), strict=True):
        inside_SS &= (x2 - x1) * (y_S1 - y1) - (y2 - y1) * (x_1S - x1) >= 0
    return inside_SS


def gaussian_mask(landmarks_K2: np.ndarray, height: int, width: int, sigma: float = MASK_SIGMA) -> np.ndarray:
    """A heatmap of eyes, nose and mouth: at each pixel the maximum of Gaussians around their landmarks.

    Used as the channel ``mask`` of a data set; it depends on the landmarks only, not on the image.

    Args:
        landmarks_K2: x and y in pixels of the face, 5 or 68 points; points outside of it are allowed.
        height: H.
        width: W.
        sigma: standard deviation, as a fraction of the longer side.

    Returns:
        uint8, shape (H, W): 255 on a point, falling to 155 at one sigma and to 0 beyond 3.6.

    Raises:
        UserError: another number of points, or an argument is out of range.
    """
    points_K2 = _checked(landmarks_K2)
    if len(points_K2) not in _FEATURES:
        raise UserError(f"landmarks are {len(points_K2)} points; allowed: {', '.join(map(str, _FEATURES))}")
    if min(height, width) < 1:
        raise UserError(f"height and width: {height}, {width}; allowed: 1 or more")
    if not sigma > 0 or math.isinf(sigma):
        raise UserError(f"sigma: {sigma}; allowed: above 0")
    reach = sigma * max(height, width)
    x_K, y_K = points_K2[_FEATURES[len(points_K2)]].T
    # a 2-D Gaussian is separable: H + W exponentials instead of H · W
    row_KH = np.exp(-(((np.arange(height) + 0.5 - y_K[:, None]) / reach) ** 2) / 2)
    column_KW = np.exp(-(((np.arange(width) + 0.5 - x_K[:, None]) / reach) ** 2) / 2)
    mask_HW = np.zeros((height, width))
    for row_H, column_W in zip(row_KH, column_KW, strict=True):
        np.maximum(mask_HW, row_H[:, None] * column_W, out=mask_HW)
    return np.rint(mask_HW * 255).astype(np.uint8)


def _checked(landmarks_K2: np.ndarray) -> np.ndarray:
    points_K2 = np.asarray(landmarks_K2, np.float64)
    if points_K2.ndim != 2 or points_K2.shape[1] != 2 or len(points_K2) < 3:
        raise UserError(f"landmarks have shape {points_K2.shape}; allowed: (K, 2) with K of 3 or more")
    if not np.isfinite(points_K2).all():
        raise UserError("landmarks are not finite numbers")
    return points_K2
