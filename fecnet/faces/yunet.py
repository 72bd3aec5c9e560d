"""YuNet (doi:10.1007/s11633-023-1423-y) through OpenCV's FaceDetectorYN, from an .onnx file of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fecnet.faces.detections import Detections, detections

_SHORTEST = 12  # pixels of the smallest face that the net is good at
_LONGEST = 640  # pixels; larger photos are shrunk to this as far as the smallest face allows
_INSTALL = "detector yunet needs OpenCV; install it with: pip install opencv-python-headless"


class YuNet:
    """A ``Detector``.

    The net knows faces of about 10 to 300 pixels. A photo is shrunk until its longer side is 640 pixels or the smallest
    wanted face would be 12, whichever comes first. Its points are coarser than MTCNN's (on 120 annotated faces 12 %
    of the distance between the eyes, MTCNN 5.5 %) and not to be relied on where a head is turned by 30 degrees.

    Args:
        model_path: the ``.onnx`` file; ``face_detection_yunet_2023mar.onnx`` is tried, also with OpenCV 5.
        score: least score.
        min_face: side of the smallest face looked for, pixels.

    Raises:
        ValueError: OpenCV or the file is missing, the file does not load, or a setting is out of range.
    """

    def __init__(self, model_path: str | Path, *, score: float = 0.6, min_face: int = 40) -> None:
        if not 0 < score < 1:
            raise ValueError(f"score {score}: expected a number between 0 and 1")
        if not str(model_path):
            raise ValueError(
                "detector yunet wants a model file, such as face_detection_yunet_2023mar.onnx of OpenCV Zoo"
            )
        path = Path(model_path)
        if not path.is_file():
            raise ValueError(f"{path}: no such file; expected YuNet's .onnx, such as face_detection_yunet_2023mar.onnx")
        self._net = _load(path, score)
        self._file = f"{path.name} {sha256(path.read_bytes()).hexdigest()[:12]}"
        self._score, self._min_face = score, min_face

    @property
    def name(self) -> str:
        """Identity with all settings that change what is found."""
        return f"yunet({self._file}, score {self._score:g}, min_face {self._min_face})"

    def detect(self, image_HWC: np.ndarray) -> Detections:
        """The faces of one uint8 RGB photo, shape (H, W, 3)."""
        longest = max(image_HWC.shape[:2])
        scale = min(1.0, max(_LONGEST / longest, _SHORTEST / self._min_face))
        height, width = (max(1, round(side * scale)) for side in image_HWC.shape[:2])
        if scale < 1:
            small = Image.fromarray(image_HWC).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
            seen_HWC = np.asarray(small)
        else:
            seen_HWC = image_HWC
        with _silent_opencv():
            self._net.setInputSize((width, height))
            rows = self._net.detect(np.ascontiguousarray(seen_HWC[..., ::-1]))[1]
        rows_K15 = np.empty((0, 15), np.float32) if rows is None else rows
        # Each side has its own ratio: a scaled side is a whole number of pixels.
        ratio_2 = np.array([image_HWC.shape[1] / width, image_HWC.shape[0] / height], np.float32)
        corner_K2, sides_K2 = rows_K15[:, :2] * ratio_2, rows_K15[:, 2:4] * ratio_2
        large_K = sides_K2.max(axis=1, initial=0) >= self._min_face
        boxes_K4 = np.concatenate([corner_K2, corner_K2 + sides_K2], axis=1)
        points_K52 = rows_K15[:, 4:14].reshape(-1, 5, 2) * ratio_2
        return detections(boxes_K4[large_K], rows_K15[large_K, 14], points_K52[large_K])

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The faces of each photo; OpenCV takes them one by one."""
        return [self.detect(image_HWC) for image_HWC in images]


def _load(path: Path, score: float) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ValueError(_INSTALL) from error
    with _silent_opencv():
        try:
            return cv2.FaceDetectorYN.create(str(path), "", (320, 320), score_threshold=score)
        except cv2.error as error:
            raise ValueError(
                f"{path}: OpenCV {cv2.__version__} does not load it as YuNet; "
                "allowed: face_detection_yunet_2023mar.onnx, with OpenCV 5 also the newer 2026may"
            ) from error


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Without OpenCV's log lines on stderr."""
    import cv2

    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
