"""Runs a Keras file in Keras on torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.opponents.package import library

RUNS_IN = "Keras on torch"


def keras_model(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The output of a model for inputs (N, H, W, C), float32, shape (N, K).

    Raises:
        Absent: Keras or h5py is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    library("h5py")
    model: Any = library("keras").models.load_model(str(file), compile=False, safe_mode=True)

    def answer(input_NHWC: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(input_NHWC.astype(np.float32)))

    return answer
