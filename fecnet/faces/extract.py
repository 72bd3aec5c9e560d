"""From a photo to its aligned face, or the word that says why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from fecnet.faces.align import MOST_SIDES, align_face, crop_box, square_box
from fecnet.faces.detections import Detections, Detector, choose_face
from fecnet.utils.errors import UserError

REASONS = {
    "no_face": "the detector finds no face, or none where the box is",
    "bad_box": "the box is empty, not finite, outside the photo or many times as large",
    "bad_points": "the points that the detector gives span no face",
}
NoFace = Literal["drop", "box"]
Box = Sequence[float] | np.ndarray

MARGIN = 0.5  # a detector wants to see what is around a face
MIN_OVERLAP = 0.2  # intersection over union below which a face found near the box is a neighbour's
_SEEN = 320  # pixels: all boxes reach the detector at one size, whatever the photo's
_BOX_MARGIN = 0.1  # around a box without landmarks: about as much of the face as alignment shows


class Face(NamedTuple):
    """An aligned face and where it was; box and points in pixels of the photo."""

    image_HWC: np.ndarray  # uint8, shape (size, size, 3)
    landmarks_52: np.ndarray  # float32; NaN where the box was taken for want of a face
    box_4: np.ndarray  # float32, the detector's; the given one where it was taken for want of a face
    score: float  # 0 where the box was taken for want of a face


def extract_faces(
    images: Sequence[np.ndarray],
    detector: Detector,
    *,
    size: int,
    boxes: Sequence[Box | None] | None = None,
    margin: float = MARGIN,
    no_face: NoFace = "drop",
) -> list[Face | str]:
    """The face of each photo, aligned to the template, with one call of the detector.

    A photo may come again with another box.

    Args:
        images: uint8, shape (H, W, 3), RGB, each.
        detector: finds them.
        size: side of the results, pixels.
        boxes: x1, y1, x2, y2 in pixels where the face of each photo should be: the detector sees the square around
            it, and the face that overlaps it most is taken. Without a box (None) it sees the whole photo and the
            largest face is taken.
        margin: of a box's longer side, shown to the detector on each side.
        no_face: where a box holds no face that the detector finds: ``drop`` it, or take the ``box`` as it is.

    Returns:
        The face of each photo, or a key of ``REASONS``.

    Raises:
        UserError: numbers of photos and boxes differ, or ``no_face`` is no choice.
    """
    if no_face not in ("drop", "box"):
        raise UserError(f"no_face: unknown name {no_face!r}; allowed: box, drop")
    if boxes is not None and len(boxes) != len(images):
        raise UserError(f"{len(boxes)} boxes for {len(images)} photos; expected one each")
    wanted = [None if box is None else np.asarray(box, np.float64) for box in boxes or [None] * len(images)]
    usable = [row for row, box in enumerate(wanted) if box is None or usable_box(box, images[row])]
    seen = [_shown(images[row], wanted[row], margin) for row in usable]
    results: list[Face | str] = ["bad_box"] * len(images)
    for row, found in zip(usable, detector.detect_batch(seen), strict=True):
        results[row] = _aligned(images[row], found, wanted[row], margin, size, no_face)
    return results


def whole_face(image_HWC: np.ndarray, box_4: np.ndarray | None, size: int) -> Face:
    """The box, or the whole picture, made square with repeated edges; nothing is looked for.

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


def usable_box(box_4: np.ndarray, image_HWC: np.ndarray) -> bool:
    """Whether a box, x1, y1, x2, y2 in pixels, holds a part of a picture, shape (H, W, C)."""
    height, width = image_HWC.shape[:2]
    if box_4.shape != (4,) or not np.isfinite(box_4).all():
        return False
    x1, y1, x2, y2 = box_4.tolist()
    if max(x2 - x1, y2 - y1) > MOST_SIDES * max(height, width):
        return False
    return x1 < x2 and y1 < y2 and x1 < width and y1 < height and x2 > 0 and y2 > 0


def _shown(image_HWC: np.ndarray, box_4: np.ndarray | None, margin: float) -> np.ndarray:
    """What the detector sees."""
    return image_HWC if box_4 is None else crop_box(image_HWC, box_4, margin, _SEEN)


def _aligned(
    image_HWC: np.ndarray, found: Detections, box_4: np.ndarray | None, margin: float, size: int, no_face: NoFace
) -> Face | str:
    """Choose among what was found and cut it out of the photo itself, at the photo's own resolution."""
    if box_4 is not None:
        found = _in_photo(found, box_4, margin)
    best = choose_face(found, box_4, min_overlap=MIN_OVERLAP)
    if best is not None:
        landmarks_52 = found.landmarks_K52[best]
        try:
            face_HWC = align_face(image_HWC, landmarks_52, size)
        except UserError:  # one face among hundreds of thousands must not end the run
            return "bad_points"
        return Face(face_HWC, landmarks_52, found.boxes_K4[best], float(found.scores_K[best]))
    if box_4 is None or no_face == "drop":
        return "no_face"
    face_HWC = crop_box(image_HWC, box_4, _BOX_MARGIN, size)
    return Face(face_HWC, np.full((5, 2), np.nan, np.float32), box_4.astype(np.float32), 0.0)


def _in_photo(found: Detections, box_4: np.ndarray, margin: float) -> Detections:
    """Detections of the square around a box, in pixels of the photo."""
    left, top, right, _ = square_box(box_4, margin)
    scale, corner_2 = (right - left) / _SEEN, np.array([left, top])
    boxes_K22 = found.boxes_K4.reshape(-1, 2, 2) * scale + corner_2
    landmarks_K52 = found.landmarks_K52 * scale + corner_2
    return Detections(boxes_K22.reshape(-1, 4).astype(np.float32), found.scores_K, landmarks_K52.astype(np.float32))
