"""Runs TensorFlow Lite models in LiteRT, one face at a time on one thread, as the packages do that ship them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.opponents.package import library

RUNS_IN = "LiteRT"


def tflite_model(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The first output of a model for inputs (N, …), float32, shape (N, K).

    Raises:
        Absent: LiteRT is not installed.
    """
    interpreter = library("ai_edge_litert.interpreter", "ai-edge-litert").Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (wanted, *_) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(input_N: np.ndarray) -> np.ndarray:
        answers = []
        for one in input_N:
            interpreter.set_tensor(given["index"], one[None].astype(np.float32))
            interpreter.invoke()
            answers.append(interpreter.get_tensor(wanted["index"])[0])
        return np.stack(answers)

    return answer
