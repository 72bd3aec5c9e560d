"""``facial-emotion-recognition``: four convolutions on 48×48 pixels, scaled to -1..1, with seven sigmoids.

The package takes the largest ``exp`` of the sigmoids for the answer; divided by their sum they are the probabilities
here. ``PyEmotion`` ships the same file.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.opponents.package import FER_CLASSES, Opponent, python_package
from benchmarks.opponents.resizing import pillow_resized
from fecnet.modeling.weight_files import read_state_dicts

WIDTHS = (1, 32, 64, 128, 256)


class Net(nn.Module):
    """The net of the package, by the names of its weights."""

    def __init__(self) -> None:
        super().__init__()
        for number, (width, wider) in enumerate(pairwise(WIDTHS), 1):
            convolution = nn.Conv2d(width, wider, 3, stride=1 if number == 1 else 2)
            layers = nn.Sequential(nn.ReflectionPad2d(1), convolution, nn.BatchNorm2d(wider), nn.ReLU())
            self.add_module(f"conv_{number}", layers)
        last = nn.Linear(256, len(FER_CLASSES))
        self.linear = nn.Sequential(nn.Linear(WIDTHS[-1] * 6 * 6, 256), nn.ReLU(), last, nn.Sigmoid())

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        """Sigmoids, shape (N, 7)."""
        for number in range(1, len(WIDTHS)):
            image_NCHW = self.get_submodule(f"conv_{number}")(image_NCHW)
        found: torch.Tensor = self.linear(image_NCHW.flatten(1))
        return found


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = python_package(folder, "facial-emotion-recognition")
    file = package.file("facial_emotion_recognition/model/model.pkl")
    net = Net().eval()
    net.load_state_dict(read_state_dicts(file)["network"])

    @torch.inference_mode()
    def probability(faces_NHW: np.ndarray) -> np.ndarray:
        image_NCHW = torch.from_numpy(pillow_resized(faces_NHW, 48))[:, None].float() / 255
        return net(image_NCHW * 2 - 1).softmax(1).numpy()

    return Opponent(package.title, FER_CLASSES, package.licence, file, "torch", probability)
