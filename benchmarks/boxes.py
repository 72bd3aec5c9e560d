"""Size of the detectors' boxes on FER2013 and CK+ images, on which `fecnet watch` bases its crops.

Protocol: 200 random images of each data set, without blank ones, enlarged four times and padded by a quarter with edge
pixels, so that boxes may exceed the image. Of several detections the largest counts. Side: the longer side of the box;
centre: its centre; both as fractions of the image side, medians (quartiles for the side). A side of 1 and a centre of
0.5, 0.5 mean that the square on the box is the image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.faces import DATA, YUNET
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detector, choose_face
from fecnet.prepare.labelled.ckplus import read_ckplus
from fecnet.prepare.labelled.fer2013 import read_fer2013

_TIMES = 4


def run(*, quick: bool) -> dict[str, Any]:
    """Both detectors on both sets; absent ones are skipped."""
    readers: dict[str, Callable[[], np.ndarray]] = {"fer2013": _fer2013, "ckplus48": _ckplus}
    measured: dict[str, Any] = {}
    for name, read in readers.items():
        if not (DATA / name).is_dir():
            print(f"{DATA / name} is absent: not measured")
            continue
        image_NHW = read()
        rows = np.random.default_rng(0).permutation(len(image_NHW))[: 5 if quick else 200]
        for kind in ("mtcnn", "yunet"):
            try:
                detector = build_detector(kind, model_path=YUNET)
            except ValueError as error:
                print(f"{error}: not measured")
                continue
            measured[f"{kind} on {name}"] = measure(detector, image_NHW[rows])
            print(f"{kind} on {name}", measured[f"{kind} on {name}"])
    return measured


def measure(detector: Detector, image_NHW: np.ndarray) -> dict[str, Any]:
    """Sides and centres of the boxes on square grey pictures, uint8, shape (N, S, S)."""
    side = _TIMES * image_NHW.shape[1]
    boxes = []
    for image_HW in image_NHW:
        large = Image.fromarray(image_HW).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        border = side // 4
        found = detector.detect(np.pad(np.asarray(large), ((border, border), (border, border), (0, 0)), mode="edge"))
        best = choose_face(found)
        if best is not None:
            boxes.append((found.boxes_K4[best] - border) / side)
    found_K4 = np.array(boxes).reshape(-1, 4)
    side_K = (found_K4[:, 2:] - found_K4[:, :2]).max(axis=1)
    low, middle, high = np.percentile(side_K, [25, 50, 75])
    x, y = np.median((found_K4[:, :2] + found_K4[:, 2:]) / 2, axis=0)
    return {
        "pictures": len(image_NHW),
        "found": len(found_K4),
        "side": round(float(middle), 3),
        "side_quartiles": [round(float(low), 3), round(float(high), 3)],
        "centre": [round(float(x), 3), round(float(y), 3)],
    }


def _fer2013() -> np.ndarray:
    fer = read_fer2013(DATA / "fer2013")
    return fer.image_NHW[~fer.blank_N]


def _ckplus() -> np.ndarray:
    pictures = [picture.picture for picture in read_ckplus(DATA / "ckplus48").pictures]
    return np.stack([picture for picture in pictures if isinstance(picture, np.ndarray)])
