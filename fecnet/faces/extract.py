"""Extracts the aligned face of a photo, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from fecnet.faces.align import MOST_SIDES, align_face, crop_box, square_box
from fecnet.faces.detections import Detections, Detector, choose_face
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

REASONS = {
    "no_face": "the detector finds no face, or none at the box",
    "bad_box": "the box is empty, not finite, outside the photo or many times as large",
    "bad_points": "the detected landmarks span no face",
}
NoFace = Literal["drop", "box"]
Box = Sequence[float] | np.ndarray

MARGIN = 0.5  # a detector needs context around a face
MIN_OVERLAP = 0.2  # intersection over union; below it, a face near the box is another one
_DETECTOR_SIZE = 320  # pixels: crops around boxes are resized to this for the detector
_BOX_MARGIN = 0.1  # around a box without landmarks: about the field of view of an aligned face


class Face(NamedTuple):
    """An aligned face and its location; box and landmarks in pixels of the photo."""

    image_HWC: np.ndarray  # uint8, shape (size, size, 3)
    landmarks_52: np.ndarray  # float32; NaN where the box, or the whole photo, was used without a detection
    box_4: np.ndarray  # float32; the detected box, else the area that was used
    score: float  # 0 without a detection


def locate_faces(
    images: Sequence[np.ndarray],
    detector: Detector,
    *,
    boxes: Sequence[Box | None] | None = None,
    margin: float = MARGIN,
    every: bool = False,
) -> list[Detections | str]:
    """Locate the face of each photo, by one call of the detector.

    A photo may be repeated with another box.

    Args:
        images: uint8, shape (H, W, 3), RGB, each.
        detector: face detector.
        boxes: see ``extract_faces``.
        margin: see ``extract_faces``.
        every: all faces of a photo without a box, instead of the largest.

    Returns:
        One face or more of each photo, in its pixels; or ``no_face`` or ``bad_box``.

    Raises:
        UserError: numbers of photos and boxes differ.
    """
    if boxes is not None and len(boxes) != len(images):
        raise UserError(f"{len(boxes)} boxes for {len(images)} photos; expected one each")
    targets = [None if box is None else np.asarray(box, np.float64) for box in boxes or [None] * len(images)]
    usable = [row for row, box in enumerate(targets) if box is None or usable_box(box, images[row])]
    inputs = [_detector_input(images[row], targets[row], margin) for row in usable]
    results: list[Detections | str] = ["bad_box"] * len(images)
    for row, found in zip(usable, detector.detect_batch(inputs), strict=True):
        results[row] = _chosen(found, targets[row], margin, every=every)
    return results


def extract_faces(
    images: Sequence[np.ndarray],
    detector: Detector,
    *,
    size: int,
    boxes: Sequence[Box | None] | None = None,
    margin: float = MARGIN,
    no_face: NoFace = "drop",
) -> list[Face | str]:
    """The face of each photo, aligned to the template, by one call of the detector.

    A photo may be repeated with another box.

    Args:
        images: uint8, shape (H, W, 3), RGB, each.
        detector: face detector.
        size: side of the results, pixels.
        boxes: x1, y1, x2, y2 in pixels, the expected location of each face: the detector processes the square around
            it, and the face with the largest overlap is used. Without a box (None) it processes the whole photo, and
            the largest face is used.
        margin: context around a box for the detector, as a fraction of its longer side, on each side.
        no_face: where no face is detected: ``drop`` it, or crop the ``box`` itself, the whole photo without a box.

    Returns:
        The face of each photo, or a key of ``REASONS``.

    Raises:
        UserError: numbers of photos and boxes differ, or unknown ``no_face``.
    """
    if no_face not in ("drop", "box"):
        raise UserError(f"no_face: unknown name {shown(no_face)}; allowed: box, drop")
    located = locate_faces(images, detector, boxes=boxes, margin=margin)
    return [
        _aligned(image_HWC, found, box, size, no_face)
        for image_HWC, found, box in zip(images, located, boxes or [None] * len(images), strict=True)
    ]


def whole_face(image_HWC: np.ndarray, box_4: np.ndarray | None, size: int) -> Face:
    """Crop the box, or the whole image, to a square padded with edge pixels, without detection.

    Args:
        image_HWC: uint8, shape (H, W, 3), RGB.
        box_4: x1, y1, x2, y2 in pixels, or None.
        size: side of the result, pixels.

    Raises:
        UserError: the box is empty or not finite.
    """
    whole = np.array([0.0, 0.0, image_HWC.shape[1], image_HWC.shape[0]])
    box = whole if box_4 is None else box_4
    return Face(crop_box(image_HWC, box, 0.0, size), np.full((5, 2), np.nan, np.float32), box.astype(np.float32), 0.0)


def grey_face(image_HWC: np.ndarray) -> np.ndarray:
    """A face in one channel, 0.299 R + 0.587 G + 0.114 B: uint8, shape (H, W, 1), of uint8 RGB, shape (H, W, 3)."""
    return np.asarray(Image.fromarray(image_HWC).convert("L"))[..., None]


def usable_box(box_4: np.ndarray, image_HWC: np.ndarray) -> bool:
    """Whether a box, x1, y1, x2, y2 in pixels, overlaps the image, shape (H, W, C), and is not far larger."""
    height, width = image_HWC.shape[:2]
    if box_4.shape != (4,) or not np.isfinite(box_4).all():
        return False
    x1, y1, x2, y2 = box_4.tolist()
    if max(x2 - x1, y2 - y1) > MOST_SIDES * max(height, width):
        return False
    return x1 < x2 and y1 < y2 and x1 < width and y1 < height and x2 > 0 and y2 > 0


def _detector_input(image_HWC: np.ndarray, box_4: np.ndarray | None, margin: float) -> np.ndarray:
    return image_HWC if box_4 is None else crop_box(image_HWC, box_4, margin, _DETECTOR_SIZE)


def _chosen(found: Detections, box_4: np.ndarray | None, margin: float, *, every: bool) -> Detections | str:
    """The face chosen by box or size, or all of them where ``every``, in pixels of the photo."""
    if box_4 is not None:
        found = _in_photo(found, box_4, margin)
    best = choose_face(found, box_4, min_overlap=MIN_OVERLAP)
    if best is None:
        return "no_face"
    return found if every and box_4 is None else Detections(*(values[best : best + 1] for values in found))


def _aligned(image_HWC: np.ndarray, found: Detections | str, box: Box | None, size: int, no_face: NoFace) -> Face | str:
    """Crop the face from the photo at full resolution."""
    if found == "no_face" and no_face == "box":
        return unaligned_face(image_HWC, box, size)
    if isinstance(found, str):
        return found
    face_HWC = aligned_face(image_HWC, found.landmarks_K52[0], size)
    if isinstance(face_HWC, str):
        return face_HWC
    return Face(face_HWC, found.landmarks_K52[0], found.boxes_K4[0], float(found.scores_K[0]))


def aligned_face(image_HWC: np.ndarray, landmarks_52: np.ndarray, size: int) -> np.ndarray | str:
    """``align_face``, or ``bad_points`` where the landmarks span no face, so that one bad face does not end a run."""
    try:
        return align_face(image_HWC, landmarks_52, size)
    except UserError:
        return "bad_points"


def unaligned_face(image_HWC: np.ndarray, box: Box | None, size: int) -> Face:
    """The substitute for a face that is not detected: its box, or the whole photo without one."""
    if box is None:
        return whole_face(image_HWC, None, size)
    box_4 = np.asarray(box, np.float64)
    face_HWC = crop_box(image_HWC, box_4, _BOX_MARGIN, size)
    return Face(face_HWC, np.full((5, 2), np.nan, np.float32), box_4.astype(np.float32), 0.0)


def _in_photo(found: Detections, box_4: np.ndarray, margin: float) -> Detections:
    """Detections of the square around a box, in pixels of the photo."""
    left, top, right, _ = square_box(box_4, margin)
    scale, corner_2 = (right - left) / _DETECTOR_SIZE, np.array([left, top])
    boxes_K22 = found.boxes_K4.reshape(-1, 2, 2) * scale + corner_2
    landmarks_K52 = found.landmarks_K52 * scale + corner_2
    return Detections(boxes_K22.reshape(-1, 4).astype(np.float32), found.scores_K, landmarks_K52.astype(np.float32))
