"""How the packages resize a face: by OpenCV, by Pillow, or as TensorFlow does by default, without pixel centres."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks.opponents.package import library


def opencv_resized(faces_NHW: np.ndarray, size: int) -> np.ndarray:
    """Square faces by ``cv2.resize`` of that type, bilinear, shape (N, size, size).

    Raises:
        Absent: OpenCV is not installed.
    """
    cv2 = library("cv2", "opencv-python-headless")
    return np.stack([cv2.resize(face, (size, size)) for face in faces_NHW])


def pillow_resized(faces_NHW: np.ndarray, size: int) -> np.ndarray:
    """Square faces as torchvision's transforms of pictures resize them: bilinear with antialiasing, uint8."""
    if faces_NHW.shape[1] == size:
        return faces_NHW
    shape, how = (size, size), Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(face_HW).resize(shape, how)) for face_HW in faces_NHW])


def legacy_bilinear(faces_NHW: np.ndarray, size: int) -> np.ndarray:
    """``tf.image.resizeBilinear(faces, [size, size], alignCorners=false, halfPixelCenters=false)``, float32.

    Pixel ``i`` of the result is taken at ``i`` times the ratio of the sizes, not at the centre of the pixel.
    """
    side = faces_NHW.shape[1]
    place = np.arange(size, dtype=np.float32) * side / size
    low = place.astype(int)
    high, share = np.minimum(low + 1, side - 1), place - np.floor(place)
    image = faces_NHW.astype(np.float32)
    rows = image[:, low] + (image[:, high] - image[:, low]) * share[:, None]
    resized: np.ndarray = rows[..., low] + (rows[..., high] - rows[..., low]) * share
    return resized
