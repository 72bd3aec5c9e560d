"""The face detectors by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fecnet.faces.detections import Detections, Detector, choose_face, overlap
from fecnet.faces.mtcnn import Mtcnn
from fecnet.faces.turns import TurningDetector
from fecnet.faces.yunet import YuNet
from fecnet.utils.env import find_gpu
from fecnet.utils.errors import UserError
from fecnet.utils.lookup import lookup

__all__ = ["Detections", "Detector", "build_detector", "choose_face", "overlap"]


def build_detector(
    name: str,
    *,
    model_path: str | Path = "",
    device: str = "cpu",
    thresholds: Sequence[float] = (0.6, 0.7, 0.6),
    factor: float = 0.709,
    min_face: int = 40,
    refine: bool = True,
    score: float = 0.6,
    try_turns: bool = False,
) -> Detector:
    """A detector by name.

    Args:
        name: ``mtcnn`` (package facenet-pytorch, includes its weights) or ``yunet`` (OpenCV, needs ``model_path``).
        model_path: YuNet's ``.onnx`` file.
        device: where MTCNN's nets run, ``cpu``, ``cuda`` or ``cuda:<number>``; YuNet runs on the CPU.
        thresholds: minimum score after MTCNN's three stages.
        factor: scale ratio of MTCNN's image pyramid.
        min_face: side of the smallest face detected, pixels.
        refine: predict the landmarks again on the upright face; YuNet also detects rotated faces.
        score: minimum score of YuNet.
        try_turns: where no face is found, try the photo rotated by 90, 270 and 180 degrees.

    Raises:
        UserError: unknown name, a setting out of range, a device that does not exist or that the detector does not
            use, or a package or the model file missing or unusable.
    """
    if device != "cpu":
        device = detector_gpu(name, device)
    if min_face < 1:
        raise UserError(f"min_face {min_face}: expected 1 or more pixels")
    detectors: dict[str, Callable[[], Detector]] = {
        "mtcnn": lambda: Mtcnn(device=device, thresholds=thresholds, factor=factor, min_face=min_face, refine=refine),
        "yunet": lambda: YuNet(model_path, score=score, min_face=min_face, refine=refine),
    }
    detector = lookup(detectors, name, key="detector")()
    return TurningDetector(detector) if try_turns else detector


def detector_gpu(name: str, device: str) -> str:
    """The GPU that a detector runs on, such as ``cuda:0``.

    Raises:
        UserError: the detector runs on the CPU only, or there is no such GPU.
    """
    if name == "yunet":
        raise UserError(f"detector device: '{device}' with yunet, which runs on the CPU; allowed: cpu")
    return str(find_gpu(device, key="detector device", others="cpu"))
