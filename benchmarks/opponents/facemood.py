"""``facemood``: a net on 170×170 pixels in RGB, scaled to 0..1, resized by Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.opponents import keras_file
from benchmarks.opponents.package import FER_CLASSES, Opponent, python_package


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = python_package(folder, "facemood")
    file = package.file("facemood/model__version1.0.0__.h5")
    model = keras_file.keras_model(file)
    return Opponent(
        package.title, FER_CLASSES, package.licence, file, keras_file.RUNS_IN, lambda faces: model(prepared(faces))
    )


def prepared(faces_NHW: np.ndarray) -> np.ndarray:
    """The input of the net, shape (N, 170, 170, 3)."""
    faces = [Image.fromarray(face_HW).convert("RGB").resize((170, 170)) for face_HW in faces_NHW]
    return np.stack([np.asarray(face) / np.float32(255) for face in faces])
