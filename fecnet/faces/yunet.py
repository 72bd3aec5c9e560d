"""YuNet (doi:10.1007/s11633-023-1423-y) through OpenCV's FaceDetectorYN, from a user-supplied .onnx file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fecnet.faces.align import TEMPLATE
from fecnet.faces.detections import Detections, choose_face, detections
from fecnet.faces.refine import detect_rotated, refine_landmarks
from fecnet.utils.errors import UserError

_SHORTEST = 12  # pixels: smallest face that the net detects reliably
_LONGEST = 640  # pixels: larger photos are downscaled to this, as far as the smallest face allows
_COARSE_SIZE, _FINE_SIZE = 160, 320  # pixels: side of the face crop in the first and second refinement
_UPRIGHT = (TEMPLATE - 0.5) * 0.8 + 0.5  # landmarks in both crops; 0.4 to 1.1 and sides of 96 to 400 were tried
_CENTRE_BOX = np.array([0.19, 0.19, 0.81, 0.81])  # box of the face in both crops
_REFINE_SCORE = 0.3  # minimum score in refinement: the crop is known to hold a face
_INSTALL = "detector yunet needs OpenCV; install it with: pip install 'fecnet[video]'"


class YuNet:
    """The YuNet ``Detector``.

    The net detects faces of about 10 to 300 pixels. A photo is downscaled until its longer side is 640 pixels or the
    smallest face to detect would be 12 pixels, whichever comes first.

    It was trained on upright faces: it misses some faces rotated by 30 degrees, and many of their landmarks are far
    off. With ``refine`` it therefore also processes the photo rotated to either side, and each face twice more, rotated
    upright. ``benchmarks/results/faces.json`` has the errors of both detectors; MTCNN's landmarks are more accurate.

    Args:
        model_path: the ``.onnx`` file; ``face_detection_yunet_2023mar.onnx`` is tested, also with OpenCV 5.
        score: minimum score.
        min_face: side of the smallest face detected, pixels.
        refine: detect rotated faces, and predict the landmarks again on the upright face.

    Raises:
        UserError: OpenCV or the file is missing, the file does not load, or a setting is out of range.
    """

    def __init__(self, model_path: str | Path, *, score: float = 0.6, min_face: int = 40, refine: bool = True) -> None:
        if not 0 < score < 1:
            raise UserError(f"score {score}: expected a number between 0 and 1")
        if not str(model_path):
            raise UserError(
                "detector yunet needs a model file, such as face_detection_yunet_2023mar.onnx of OpenCV Zoo"
            )
        path = Path(model_path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; expected YuNet's .onnx, such as face_detection_yunet_2023mar.onnx")
        self._net = _load(path, score)
        self._file = f"{path.name} {sha256(path.read_bytes()).hexdigest()[:12]}"
        self._score, self._min_face, self._refine = score, min_face, refine
        self._lock = threading.Lock()  # the net keeps its input size between calls

    @property
    def name(self) -> str:
        """Name with all settings that affect the detections."""
        looks = 2 if self._refine else 1
        return f"yunet({self._file}, score {self._score:g}, min_face {self._min_face}, looks {looks})"

    def detect(self, image_HWC: np.ndarray) -> Detections:
        """The faces of one uint8 RGB photo, shape (H, W, 3)."""
        found = self._find(image_HWC)
        if self._refine:
            # at the size of the upright photo: at 320 pixels or fewer, small faces are missed and large boxes are worse
            small_HWC = _downscale(image_HWC, self._min_face)
            found = detect_rotated(
                small_HWC,
                lambda turned_HWC: self._detect_as_is(turned_HWC, self._score),
                upright=_scaled(found, image_HWC, small_HWC),
            )
            found = _scaled(found, small_HWC, image_HWC)
        large_K = (found.boxes_K4[:, 2:] - found.boxes_K4[:, :2]).max(axis=1, initial=0) >= self._min_face
        boxes_K4, scores_K, points_K52 = (part[large_K] for part in found)
        if self._refine:
            # The first pass gives the rotation of faces far from upright, the second one accurate landmarks.
            for size, mirror in ((_COARSE_SIZE, False), (_FINE_SIZE, True)):
                points_K52 = refine_landmarks(
                    image_HWC, points_K52, self._predict, upright_52=_UPRIGHT, size=size, mirror=mirror, quick=True
                )
        return detections(boxes_K4, scores_K, points_K52)

    def _find(self, image_HWC: np.ndarray) -> Detections:
        """Detections of the net on a photo, downscaled if large."""
        small_HWC = _downscale(image_HWC, self._min_face)
        return _scaled(self._detect_as_is(small_HWC, self._score), small_HWC, image_HWC)

    def _detect_as_is(self, image_HWC: np.ndarray, score: float) -> Detections:
        """Detections of the net on an image at its own size."""
        height, width = image_HWC.shape[:2]
        with self._lock, _silent_opencv():
            self._net.setScoreThreshold(score)
            self._net.setInputSize((width, height))
            rows = self._net.detect(np.ascontiguousarray(image_HWC[..., ::-1]))[1]
        rows_K15 = np.empty((0, 15), np.float32) if rows is None else rows
        boxes_K4 = np.concatenate([rows_K15[:, :2], rows_K15[:, :2] + rows_K15[:, 2:4]], axis=1)
        return detections(boxes_K4, rows_K15[:, 14], rows_K15[:, 4:14])

    def _predict(self, upright_KSS3: np.ndarray) -> np.ndarray:
        """Landmarks of the central face of each image, float64, shape (K, 5, 2); NaN where none is detected."""
        points_K52 = np.full((len(upright_KSS3), 5, 2), np.nan)
        for face, upright_SS3 in enumerate(upright_KSS3):
            found = self._detect_as_is(upright_SS3, _REFINE_SCORE)
            best = choose_face(found, _CENTRE_BOX * len(upright_SS3), min_overlap=0.2)
            if best is not None:
                points_K52[face] = found.landmarks_K52[best]
        return points_K52

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The faces of each photo; OpenCV processes them one by one."""
        return [self.detect(image_HWC) for image_HWC in images]


def _downscale(image_HWC: np.ndarray, min_face: float) -> np.ndarray:
    """The image at the size for the net."""
    scale = min(1.0, max(_LONGEST / max(image_HWC.shape[:2]), _SHORTEST / min_face))
    height, width = (max(1, round(side * scale)) for side in image_HWC.shape[:2])
    if (height, width) == image_HWC.shape[:2]:
        return image_HWC
    small = Image.fromarray(image_HWC).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small)


def _scaled(found: Detections, small_HWC: np.ndarray, image_HWC: np.ndarray) -> Detections:
    """Detections on a downscaled image, in pixels of the original image."""
    # Each side has its own ratio, since scaled sides are rounded to pixels.
    ratio_2 = (np.array(image_HWC.shape[1::-1]) / small_HWC.shape[1::-1]).astype(np.float32)
    boxes_K4 = (found.boxes_K4.reshape(-1, 2, 2) * ratio_2).reshape(-1, 4)
    return Detections(boxes_K4, found.scores_K, found.landmarks_K52 * ratio_2)


def _load(path: Path, score: float) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UserError(_INSTALL) from error
    with _silent_opencv():
        try:
            return cv2.FaceDetectorYN.create(str(path), "", (320, 320), score_threshold=score)
        except cv2.error as error:
            raise UserError(
                f"{path}: OpenCV {cv2.__version__} does not load it as YuNet; "
                "allowed: face_detection_yunet_2023mar.onnx, with OpenCV 5 also the newer 2026may"
            ) from error


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Suppress OpenCV's log lines on stderr."""
    import cv2

    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
