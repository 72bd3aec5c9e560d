"""``@vladmandic/face-api``: sixteen separable convolutions on 112×112 pixels of RGB, less the mean colour, over 255."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.opponents.package import Opponent, node_package
from benchmarks.opponents.resizing import legacy_bilinear
from benchmarks.opponents.tfjs import convolution, depthwise, read_weights

CLASSES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
_MEAN = (122.782, 117.001, 104.298)
_MODEL = "model/face_expression_model"


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = node_package(folder, "@vladmandic/face-api")
    manifest = json.loads(package.file(f"{_MODEL}-weights_manifest.json").read_text(encoding="utf-8"))
    file = package.file(f"{_MODEL}.bin")
    weights = {name: torch.from_numpy(np.array(value)) for name, value in read_weights(file.parent, manifest).items()}

    @torch.inference_mode()
    def probability(faces_NHW: np.ndarray) -> np.ndarray:
        image_NHW = torch.from_numpy(legacy_bilinear(faces_NHW, 112))
        image_NCHW = (image_NHW[:, None] - torch.tensor(_MEAN)[:, None, None]) / 255
        return forward(weights, image_NCHW).softmax(1).numpy()

    return Opponent(package.title, CLASSES, package.licence, file, "torch", probability)


def forward(weights: Mapping[str, Tensor], image_NCHW: Tensor) -> Tensor:
    """Logits, shape (N, 7): four blocks of four convolutions, each adding up what came before it in its block."""
    for block in range(4):
        total_NCHW = torch.zeros(())
        for layer in range(4):
            name, stride = f"dense{block}/conv{layer}", 1 if layer else 2
            if f"{name}/filters" in weights:
                image_NCHW = convolution(image_NCHW, weights[f"{name}/filters"], stride, same=True)
            else:
                image_NCHW = depthwise(image_NCHW, weights[f"{name}/depthwise_filter"], stride)
                image_NCHW = convolution(image_NCHW, weights[f"{name}/pointwise_filter"], 1, same=False)
            image_NCHW = image_NCHW + weights[f"{name}/bias"][:, None, None]
            # the first is rectified before it is added, the others only as part of the sum
            total_NCHW = total_NCHW + (image_NCHW if layer else image_NCHW.relu())
            image_NCHW = total_NCHW.relu()
    pooled_NC = functional.avg_pool2d(image_NCHW, 7, 2).flatten(1)
    return pooled_NC @ weights["fc/weights"] + weights["fc/bias"]
