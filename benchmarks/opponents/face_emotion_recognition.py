"""``faceemotionrecognition``: a YOLO11 that finds faces of eight expressions in RGB.

The package enlarges a picture to 640×640 pixels; ultralytics reduces it to the size of the training, 320×320. The
package takes the class of the most certain box for the answer. Here a class has the score of its most certain box,
whatever the threshold, divided by the sum over the classes: the same answer, and one for every face.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.opponents.package import Opponent, library, python_package
from benchmarks.opponents.resizing import opencv_resized
from fecnet.modeling.plain_pickle import load_plain

RECIPE = "yolo11n.yaml"
_AT_A_TIME = 8  # faces


def load(folder: Path) -> Opponent:
    """The model of the package."""
    package = python_package(folder, "faceemotionrecognition")
    file = package.file("faceemotionrecognition/trained_model.pt")
    kind: Any = library("ultralytics.nn.tasks", "ultralytics").DetectionModel
    content = load_plain(file)
    held, size = content["model"].held[-1], content["train_args"]["imgsz"]
    classes = [held["names"][number] for number in range(held["nc"])]
    net = kind(RECIPE, nc=len(classes), verbose=False)
    net.load_state_dict({name: value.float() for name, value in _tensors(held)})
    net = net.eval().fuse(verbose=False)

    @torch.inference_mode()
    def probability(faces_NHW: np.ndarray) -> np.ndarray:
        scores = []
        for some_NHW in np.array_split(faces_NHW, -(-len(faces_NHW) // _AT_A_TIME)):
            image_NHW = torch.from_numpy(opencv_resized(opencv_resized(some_NHW, 640), size)).float() / 255
            boxes_NDA = net(image_NHW[:, None].expand(-1, 3, -1, -1))[0]  # four numbers of each box, then its classes
            scores.append(boxes_NDA[:, 4:].amax(2))
        score_NK = torch.cat(scores)
        found: np.ndarray = (score_NK / score_NK.sum(1, keepdim=True)).numpy()
        return found

    return Opponent(package.title, classes, package.licence, file, "ultralytics on torch", probability)


def _tensors(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of a module of which only the state is known, and of those in it, by their names."""
    for part in ("_parameters", "_buffers"):
        for name, value in state.get(part, {}).items():
            if isinstance(value, torch.Tensor):
                yield prefix + name, value
    for name, module in state.get("_modules", {}).items():
        yield from _tensors(module.held[-1], f"{prefix}{name}.")
