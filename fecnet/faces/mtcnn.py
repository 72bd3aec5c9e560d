"""MTCNN: a cascade of three small nets for detection and landmarks (arXiv:1604.02878), with facenet-pytorch's weights.

The weights are facenet-pytorch's (``mtcnn_nets``); the cascade is reimplemented, since facenet-pytorch's fails on
candidates outside the photo, and its photos in a batch suppress one another's faces at the borders. The first net
processes all photos of equal size as a batch; everything else is done per photo, so batches give the results of single
photos.

The third net was trained on upright faces. With ``refine`` it processes each face again, rotated upright by its
landmarks, and the mirror image; the mean of both replaces the landmarks (``benchmarks/results/faces.json``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fecnet.faces.align import TEMPLATE
from fecnet.faces.area_table import AreaTable
from fecnet.faces.detections import Detections, detections
from fecnet.faces.mtcnn_nets import distinct, load_nets
from fecnet.faces.quiet import quiet
from fecnet.faces.refine import refine_landmarks
from fecnet.utils.env import exact_float32
from fecnet.utils.errors import UserError

_CHUNK = 512  # candidates per forward pass: bounds memory
_ONET_SIZE = 48  # pixels: input side of the third net
_UPRIGHT = (TEMPLATE - 0.5) * 1.3 + 0.5  # landmarks in the input of the third net; factors of 1.0 to 1.3 were tried
_CELL, _STRIDE = 12, 2  # receptive field and stride of the first net, pixels


class Mtcnn:
    """A ``Detector``.

    Args:
        device: of the nets.
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
        """The faces of each photo; those of equal size are a batch of the first net."""
        found: list[Detections | None] = [None] * len(images)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image_HWC in enumerate(images):
            by_shape.setdefault(image_HWC.shape, []).append(index)
        with torch.inference_mode(), exact_float32(), quiet():
            for indices in by_shape.values():
                tables = [AreaTable(torch.tensor(images[index], device=self._device)) for index in indices]
                for index, table, boxes in zip(indices, tables, self._propose(tables), strict=True):
                    faces = self._refine(table, boxes)
                    found[index] = self._refine_landmarks(images[index], faces) if self._refines else faces
        return [faces for faces in found if faces is not None]

    def _propose(self, photos: Sequence[AreaTable]) -> list[Tensor]:
        """First stage, over an image pyramid of photos of equal size: candidate boxes of each, shape (K, 4)."""
        height, width = photos[0].height, photos[0].width
        rows: list[list[Tensor]] = [[] for _ in photos]
        scale = _CELL / self._min_face
        while min(height, width) * scale >= _CELL:
            size = (int(height * scale + 1), int(width * scale + 1))
            shift_N4hw, score_N2hw = self._nets[0](_normalised(torch.stack([photo.resized(*size) for photo in photos])))
            for photo, (shift_4hw, score_hw) in enumerate(zip(shift_N4hw, score_N2hw[:, 1], strict=True)):
                rows[photo].append(_candidates(shift_4hw, score_hw, scale, self._thresholds[0]))
            scale *= self._factor
        return [_merge(candidates) for candidates in rows]

    def _refine(self, photo: AreaTable, boxes_K4: Tensor) -> Detections:
        """Second and third stage on one photo."""
        boxes_K4 = _inside(boxes_K4, photo)
        if len(boxes_K4):
            shift_K4, score_K2 = self._classify(photo, boxes_K4, 1, 24)
            boxes_K4, score_K, shift_K4 = _passing(self._thresholds[1], score_K2[:, 1], boxes_K4, shift_K4)
            kept = distinct(boxes_K4, score_K, 0.7)
            boxes_K4 = _inside(_square(_shifted(boxes_K4[kept], shift_K4[kept])), photo)
        if not len(boxes_K4):
            return detections(np.empty(0), np.empty(0), np.empty(0))
        shift_K4, points_K10, score_K2 = self._classify(photo, boxes_K4, 2, _ONET_SIZE)
        boxes_K4, score_K, shift_K4, points_K10 = _passing(
            self._thresholds[2], score_K2[:, 1], boxes_K4, shift_K4, points_K10
        )
        points_K52 = _to_pixels(points_K10, boxes_K4)
        boxes_K4 = _shifted(boxes_K4, shift_K4)
        keep = _suppress_contained(boxes_K4, score_K, 0.7)
        return detections(boxes_K4[keep].cpu().numpy(), score_K[keep].cpu().numpy(), points_K52[keep].cpu().numpy())

    def _refine_landmarks(self, image_HWC: np.ndarray, found: Detections) -> Detections:
        """The same faces with landmarks predicted on the upright face and its mirror image."""
        points_K52 = refine_landmarks(
            image_HWC, found.landmarks_K52, self._predict, upright_52=_UPRIGHT, size=_ONET_SIZE
        )
        return found._replace(landmarks_K52=points_K52)

    def _predict(self, upright_KSS3: np.ndarray) -> np.ndarray:
        """Landmarks of the third net on upright faces, in pixels of their crops."""
        crops_KSS3 = torch.from_numpy(upright_KSS3).to(self._device)
        points_K10 = torch.cat([self._nets[2](_normalised(some))[1] for some in crops_KSS3.split(_CHUNK)])
        return points_K10.view(-1, 2, 5).transpose(1, 2).double().cpu().numpy() * _ONET_SIZE

    def _classify(self, photo: AreaTable, boxes_K4: Tensor, stage: int, size: int) -> list[Tensor]:
        """Outputs of a net for each box, cropped and resized to ``size``."""
        corners_K4 = boxes_K4.trunc().long()
        limit = corners_K4.new_tensor([photo.width, photo.height])
        inside_K4 = torch.cat([corners_K4[:, :2].clamp(min=1) - 1, corners_K4[:, 2:].minimum(limit)], dim=1)
        parts = [self._nets[stage](_normalised(photo.crops(some, size))) for some in inside_K4.split(_CHUNK)]
        return [torch.cat(output) for output in zip(*parts, strict=True)]


def _normalised(image_NHWC: Tensor) -> Tensor:
    """Normalised input of the nets: about -1..1, shape (N, C, H, W) in channels-last memory."""
    return ((image_NHWC - 127.5) * 0.0078125).permute(0, 3, 1, 2)


def _candidates(shift_4hw: Tensor, score_hw: Tensor, scale: float, threshold: float) -> Tensor:
    """Candidates of one pyramid level: box, score and regression offsets, shape (K, 9)."""
    mask_hw = score_hw >= threshold
    cell_K2 = mask_hw.nonzero().flip(1) * _STRIDE
    boxes_K4 = torch.cat([((cell_K2 + 1) / scale).floor(), ((cell_K2 + _CELL) / scale).floor()], dim=1)
    rows_K9 = torch.cat([boxes_K4, score_hw[mask_hw][:, None], shift_4hw[:, mask_hw].T], dim=1)
    return rows_K9[distinct(boxes_K4, rows_K9[:, 4], 0.5)]


def _merge(candidates: list[Tensor]) -> Tensor:
    """Candidates of all levels after suppression, shifted by the net's offsets and made square."""
    if not candidates:
        return torch.empty(0, 4)
    rows_K9 = torch.cat(candidates)
    rows_K9 = rows_K9[distinct(rows_K9[:, :4], rows_K9[:, 4], 0.7)]
    sides_K4 = (rows_K9[:, 2:4] - rows_K9[:, :2]).repeat(1, 2)
    return _square(rows_K9[:, :4] + rows_K9[:, 5:] * sides_K4)


def _passing(threshold: float, score_K: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """Rows with a score above the threshold; the scores come second."""
    mask_K = score_K > threshold
    return rows[0][mask_K], score_K[mask_K], *(row[mask_K] for row in rows[1:])


def _inside(boxes_K4: Tensor, photo: AreaTable) -> Tensor:
    """Boxes that hold a pixel of the photo."""
    left_top, right_bottom = boxes_K4[:, :2].trunc(), boxes_K4[:, 2:].trunc()
    limit = boxes_K4.new_tensor([photo.width, photo.height])
    return boxes_K4[(right_bottom.minimum(limit) > left_top.clamp(min=1) - 1).all(dim=1)]


def _shifted(boxes_K4: Tensor, shift_K4: Tensor) -> Tensor:
    sides_K4 = (boxes_K4[:, 2:] - boxes_K4[:, :2] + 1).repeat(1, 2)
    return boxes_K4 + shift_K4 * sides_K4


def _square(boxes_K4: Tensor) -> Tensor:
    centre_K2 = (boxes_K4[:, :2] + boxes_K4[:, 2:]) / 2
    half_K1 = (boxes_K4[:, 2:] - boxes_K4[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centre_K2 - half_K1, centre_K2 + half_K1], dim=1)


def _to_pixels(points_K10: Tensor, boxes_K4: Tensor) -> Tensor:
    """Landmarks as fractions (five x, then five y) to pixels, shape (K, 5, 2)."""
    sides_K12 = (boxes_K4[:, 2:] - boxes_K4[:, :2] + 1)[:, None]
    return points_K10.view(-1, 2, 5).transpose(1, 2) * sides_K12 + boxes_K4[:, None, :2] - 1


def _suppress_contained(boxes_K4: Tensor, score_K: Tensor, threshold: float) -> list[int]:
    """Indices by score, best first, without boxes sharing over ``threshold`` of the smaller area with a better one."""
    areas = ((boxes_K4[:, 2] - boxes_K4[:, 0] + 1) * (boxes_K4[:, 3] - boxes_K4[:, 1] + 1)).tolist()
    boxes = boxes_K4.tolist()
    kept: list[int] = []
    for index in score_K.argsort(descending=True, stable=True).tolist():
        if all(_common(boxes[index], boxes[best]) <= threshold * min(areas[index], areas[best]) for best in kept):
            kept.append(index)
    return kept


def _common(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    return max(0.0, width) * max(0.0, height)
