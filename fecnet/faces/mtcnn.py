"""MTCNN: a cascade of three small nets for detection and landmarks (arXiv:1604.02878), with facenet-pytorch's weights.

The weights are facenet-pytorch's (``mtcnn_nets``). The cascade is reimplemented: facenet-pytorch's fails on candidates
outside the photo, and suppresses faces at the borders by faces of other photos of the batch. Here a batch gives the
results of single photos: the first net processes photos of equal size together, the others the crops of all photos.

The third net was trained on upright faces. With ``refine`` it also processes each face rotated upright by its
landmarks, and the mirror image of that; the mean of both replaces the landmarks (``benchmarks/results/faces.json``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from fecnet.faces.align import TEMPLATE
from fecnet.faces.detections import Detections, detections
from fecnet.faces.mtcnn_nets import distinct, load_nets
from fecnet.faces.pyramid import Pyramid
from fecnet.faces.quiet import quiet
from fecnet.faces.refine import refine_landmarks
from fecnet.utils.env import exact_float32
from fecnet.utils.errors import UserError

_SIZES = (0, 24, 48)  # pixels: input sides of the second and the third net
_CHUNKS = (0, 32, 12)  # crops per forward pass of the second and the third net: activations of about 2 MB
_UPRIGHT = (TEMPLATE - 0.5) * 1.3 + 0.5  # landmarks in the input of the third net; factors of 1.0 to 1.3 were tried
_CELL, _STRIDE = 12, 2  # receptive field and stride of the first net, pixels


class Mtcnn:
    """The MTCNN ``Detector``.

    Args:
        device: device of the nets, such as ``cpu`` or ``cuda:0``.
        thresholds: minimum score after each of the three stages.
        factor: scale ratio of the image pyramid.
        min_face: side of the smallest face detected, pixels.
        refine: predict the landmarks again on the upright face.

    Raises:
        UserError: facenet-pytorch is missing, or a setting is out of range.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        thresholds: Sequence[float] = (0.6, 0.7, 0.6),
        factor: float = 0.709,
        min_face: int = 40,
        refine: bool = True,
    ) -> None:
        if len(thresholds) != 3 or not all(0 < threshold < 1 for threshold in thresholds):
            raise UserError(f"thresholds {tuple(thresholds)}: expected three numbers between 0 and 1")
        if not 0 < factor < 1:
            raise UserError(f"factor {factor}: expected a number between 0 and 1")
        self._nets = load_nets(device)
        self._device, self._thresholds, self._factor, self._min_face = device, tuple(thresholds), factor, min_face
        self._refines = refine

    @property
    def name(self) -> str:
        """Name with all settings that affect the detections."""
        thresholds = "/".join(f"{threshold:g}" for threshold in self._thresholds)
        looks = 2 if self._refines else 1
        return (
            f"mtcnn(facenet-pytorch, thresholds {thresholds}, factor {self._factor:g}, min_face {self._min_face}, "
            f"looks {looks})"
        )

    def detect(self, image_HWC: np.ndarray) -> Detections:
        """The faces of one uint8 RGB photo, shape (H, W, 3)."""
        return self.detect_batch([image_HWC])[0]

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The faces of each photo."""
        if not images:
            return []
        photos = [Pyramid(image_HWC) for image_HWC in images]
        with torch.inference_mode(), exact_float32(), quiet():
            boxes = self._sift(photos, self._propose(photos))
            found = self._finish(photos, boxes)
            if not self._refines:
                return found
            return [self._refine_landmarks(*pair) for pair in zip(images, found, strict=True)]

    def _propose(self, photos: Sequence[Pyramid]) -> list[np.ndarray]:
        """First stage, over an image pyramid: candidate boxes of each photo, shape (K, 4)."""
        rows: list[list[np.ndarray]] = [[np.empty((0, 9), np.float32)] for _ in photos]
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, photo in enumerate(photos):
            by_size.setdefault((photo.height, photo.width), []).append(index)
        for (height, width), indices in by_size.items():
            scale = _CELL / self._min_face
            while min(height, width) * scale >= _CELL:
                size = (int(height * scale + 1), int(width * scale + 1))
                shift_N4hw, score_N2hw = self._run(0, np.stack([photos[index].resized(*size) for index in indices]))
                for index, shift_4hw, score_2hw in zip(indices, shift_N4hw, score_N2hw, strict=True):
                    rows[index].append(_candidates(shift_4hw, score_2hw[1], scale, self._thresholds[0]))
                scale *= self._factor
        return [_merge(np.concatenate(candidates)) for candidates in rows]

    def _sift(self, photos: Sequence[Pyramid], boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Second stage: which candidates of each photo look like faces, and their boxes."""
        kept = []
        for boxes_K4, (shift_K4, score_K2) in self._classify(photos, boxes, 1):
            boxes_K4, score_K, shift_K4 = _passing(self._thresholds[1], score_K2[:, 1], boxes_K4, shift_K4)
            best = distinct(boxes_K4, score_K, 0.7)
            kept.append(_square(_shifted(boxes_K4[best], shift_K4[best])))
        return kept

    def _finish(self, photos: Sequence[Pyramid], boxes: Sequence[np.ndarray]) -> list[Detections]:
        """Third stage: the faces of each photo, with landmarks."""
        found = []
        for boxes_K4, (shift_K4, points_K10, score_K2) in self._classify(photos, boxes, 2):
            boxes_K4, score_K, shift_K4, points_K10 = _passing(
                self._thresholds[2], score_K2[:, 1], boxes_K4, shift_K4, points_K10
            )
            points_K52 = _to_pixels(points_K10, boxes_K4)
            boxes_K4 = _shifted(boxes_K4, shift_K4)
            keep = _suppress_contained(boxes_K4, score_K, 0.7)
            found.append(detections(boxes_K4[keep], score_K[keep], points_K52[keep]))
        return found

    def _refine_landmarks(self, image_HWC: np.ndarray, found: Detections) -> Detections:
        """The same faces with landmarks predicted on the upright face and its mirror image."""
        points_K52 = refine_landmarks(
            image_HWC, found.landmarks_K52, self._predict, upright_52=_UPRIGHT, size=_SIZES[2]
        )
        return found._replace(landmarks_K52=points_K52)

    def _predict(self, upright_KSS3: np.ndarray) -> np.ndarray:
        """Landmarks of the third net on upright faces, in pixels of their crops."""
        points_K10 = self._run(2, upright_KSS3)[1]
        return points_K10.reshape(-1, 2, 5).transpose(0, 2, 1).astype(np.float64) * _SIZES[2]

    def _classify(
        self, photos: Sequence[Pyramid], boxes: Sequence[np.ndarray], stage: int
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """The boxes of each photo that contain a pixel of it, and the outputs of a net for them."""
        inside = [_inside(boxes_K4, photo) for boxes_K4, photo in zip(boxes, photos, strict=True)]
        crops = [
            photo.crops(_pixels(some, photo).tolist(), _SIZES[stage])
            for some, photo in zip(inside, photos, strict=True)
        ]
        outputs = self._run(stage, np.concatenate(crops))
        ends = np.cumsum([len(some) for some in inside])[:-1]
        yield from zip(
            inside, map(list, zip(*(np.split(output, ends) for output in outputs), strict=True)), strict=True
        )

    def _run(self, stage: int, image_NHWC: np.ndarray) -> list[np.ndarray]:
        """Outputs of a net for uint8 images; crops are processed in chunks.

        Chunks keep the set of batch sizes small: oneDNN prepares longer for each new batch size than the net runs.
        """
        if stage and len(image_NHWC) > (chunk := _CHUNKS[stage]):
            parts = [self._run(stage, image_NHWC[k : k + chunk]) for k in range(0, len(image_NHWC), chunk)]
            return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
        normal_NCHW = ((torch.from_numpy(image_NHWC).to(self._device) - 127.5) * 0.0078125).permute(0, 3, 1, 2)
        return [output.cpu().numpy() for output in self._nets[stage](normal_NCHW)]


def _candidates(shift_4hw: np.ndarray, score_hw: np.ndarray, scale: float, threshold: float) -> np.ndarray:
    """Candidates of one pyramid level: box, score and regression offsets, shape (K, 9)."""
    row_K, column_K = np.nonzero(score_hw >= threshold)
    cell_K2 = np.stack([column_K, row_K], axis=1).astype(np.float32) * _STRIDE
    corners = [np.floor((cell_K2 + edge) / np.float32(scale)) for edge in (1, _CELL)]
    score_K = score_hw[row_K, column_K]
    rows_K9 = np.concatenate([*corners, score_K[:, None], shift_4hw[:, row_K, column_K].T], axis=1)
    return rows_K9[distinct(rows_K9[:, :4], score_K, 0.5)]


def _merge(rows_K9: np.ndarray) -> np.ndarray:
    """Candidates of all levels after suppression, shifted by the net's offsets and made square."""
    rows_K9 = rows_K9[distinct(rows_K9[:, :4], rows_K9[:, 4], 0.7)]
    sides_K4 = np.tile(rows_K9[:, 2:4] - rows_K9[:, :2], 2)
    return _square(rows_K9[:, :4] + rows_K9[:, 5:] * sides_K4)


def _passing(threshold: float, score_K: np.ndarray, *rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows with a score above the threshold; the scores come second."""
    mask_K = score_K > threshold
    return rows[0][mask_K], score_K[mask_K], *(row[mask_K] for row in rows[1:])


def _inside(boxes_K4: np.ndarray, photo: Pyramid) -> np.ndarray:
    """Boxes that contain a pixel of the photo."""
    corners_K4 = _pixels(boxes_K4, photo)
    return boxes_K4[(corners_K4[:, 2:] > corners_K4[:, :2]).all(axis=1)]


def _pixels(boxes_K4: np.ndarray, photo: Pyramid) -> np.ndarray:
    """The part of each box inside the photo: x1, y1, x2, y2 in whole pixels, the ends exclusive."""
    corners_K4 = np.trunc(boxes_K4).astype(np.int64)
    return np.concatenate(
        [corners_K4[:, :2].clip(min=1) - 1, np.minimum(corners_K4[:, 2:], (photo.width, photo.height))], axis=1
    )


def _shifted(boxes_K4: np.ndarray, shift_K4: np.ndarray) -> np.ndarray:
    sides_K4 = np.tile(boxes_K4[:, 2:] - boxes_K4[:, :2] + 1, 2)
    return boxes_K4 + shift_K4 * sides_K4


def _square(boxes_K4: np.ndarray) -> np.ndarray:
    centre_K2 = (boxes_K4[:, :2] + boxes_K4[:, 2:]) / 2
    half_K1 = (boxes_K4[:, 2:] - boxes_K4[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    return np.concatenate([centre_K2 - half_K1, centre_K2 + half_K1], axis=1)


def _to_pixels(points_K10: np.ndarray, boxes_K4: np.ndarray) -> np.ndarray:
    """Landmarks as fractions (five x, then five y) to pixels, shape (K, 5, 2)."""
    sides_K12 = (boxes_K4[:, 2:] - boxes_K4[:, :2] + 1)[:, None]
    return points_K10.reshape(-1, 2, 5).transpose(0, 2, 1) * sides_K12 + boxes_K4[:, None, :2] - 1


def _suppress_contained(boxes_K4: np.ndarray, score_K: np.ndarray, threshold: float) -> list[int]:
    """Indices by score, best first, without boxes sharing over ``threshold`` of the smaller area with a better one."""
    areas = ((boxes_K4[:, 2] - boxes_K4[:, 0] + 1) * (boxes_K4[:, 3] - boxes_K4[:, 1] + 1)).tolist()
    boxes = boxes_K4.tolist()
    kept: list[int] = []
    for index in np.argsort(-score_K, kind="stable").tolist():
        if all(_common(boxes[index], boxes[best]) <= threshold * min(areas[index], areas[best]) for best in kept):
            kept.append(index)
    return kept


def _common(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    return max(0.0, width) * max(0.0, height)
