"""``what-the-face-classification``: three convolutions with tanh on 48×48 pixels, scaled to 0..1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.opponents.package import FER_CLASSES, Opponent, python_package
from benchmarks.opponents.resizing import pillow_resized
from fecnet.modeling.weight_files import read_state_dicts


class Net(nn.Module):
    """The net of the package, by the names of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 28, 3), nn.Conv2d(28, 56, 3), nn.Conv2d(56, 112, 3)
        self.fc1, self.fc2, self.fc3 = nn.Linear(112 * 4 * 4, 2000), nn.Linear(2000, 304), nn.Linear(304, 7)

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N, 7)."""
        for convolution in (self.conv1, self.conv2, self.conv3):
            image_NCHW = functional.max_pool2d(convolution(image_NCHW).tanh(), 2)
        found: torch.Tensor = self.fc3(self.fc2(self.fc1(image_NCHW.flatten(1)).relu()).relu())
        return found


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = python_package(folder, "what-the-face-classification")
    file = package.file("what_the_face_classification/active_model.pth")
    net = Net().eval()
    net.load_state_dict(read_state_dicts(file)[""])

    @torch.inference_mode()
    def probability(faces_NHW: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(pillow_resized(faces_NHW, 48))[:, None].float() / 255).softmax(1).numpy()

    return Opponent(package.title, FER_CLASSES, package.licence, file, "torch", probability)
