"""``facex``: a net on 200×200 pixels in three equal channels, scaled to 0..1 by scikit-image's ``resize``.

``hfahrudin`` ships the same file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.opponents import tflite
from benchmarks.opponents.package import Opponent, python_package
from benchmarks.opponents.resizing import opencv_resized

CLASSES = ("anger", "disgust", "fear", "happy", "neutral", "sadness", "surprised")


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = python_package(folder, "facex")
    file = package.file("facex/assets/model_optimized.tflite")
    model = tflite.tflite_model(file)
    return Opponent(
        package.title, CLASSES, package.licence, file, tflite.RUNS_IN, lambda faces_NHW: model(prepared(faces_NHW))
    )


def prepared(faces_NHW: np.ndarray) -> np.ndarray:
    """The input of the net, shape (N, 200, 200, 3); enlarging, scikit-image and OpenCV agree in floating point."""
    resized_NHW = opencv_resized(faces_NHW.astype(np.float32) / 255, 200)
    return np.repeat(resized_NHW[..., None], 3, axis=-1)
