"""Detection and alignment on annotated photos: recall, landmark error, and robustness to rotation.

Protocol: a face is detected if a detection has an intersection over union of 0.3 or more with its annotated box, or
with the bounding box of its 68 landmarks. The landmark error is the mean distance to the annotated landmarks, in % of
the annotated interocular distance. The eye error is the mean distance of the annotated eyes, mapped into the aligned
face, to the template's eyes, in % of the aligned face's side. Rotated photos are rotated about their centre without
cropping; only the bounding box of the rotated landmarks counts there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.demo import ROOT
from fecnet.faces.align import TEMPLATE, align_matrix, transform_points
from fecnet.faces.decode import decode_image
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detections, Detector, overlap

DATA = ROOT.parent / "shared" / "data"
YUNET = DATA / "weights" / "yunet" / "face_detection_yunet_2023mar.onnx"
_MIN_OVERLAP = 0.3
_MIN_FACE = 20  # some annotated faces have eyes 8 pixels apart


def run(*, quick: bool) -> dict[str, Any]:
    """Both detectors, upright and rotated by 30 degrees to either side; absent ones are skipped."""
    if not (DATA / "faces" / "annotations.json").is_file():
        print(f"{DATA / 'faces'} is absent: not measured")
        return {}
    measured: dict[str, Any] = {}
    for name in ("mtcnn", "yunet"):
        try:
            detector = build_detector(name, model_path=YUNET, min_face=_MIN_FACE)
        except ValueError as error:
            print(f"{error}: not measured")
            continue
        measured[detector.name] = {
            f"turned by {degrees}": measure(detector, DATA / "faces", every=20 if quick else 1, degrees=degrees)
            for degrees in (0, -30, 30)
        }
        print(detector.name, json.dumps(measured[detector.name], indent=2))
    return measured


def measure(detector: Detector, folder: Path, *, every: int = 1, degrees: int = 0) -> dict[str, Any]:
    """Recall and errors of one detector on every ``every``-th photo, turned counter-clockwise by ``degrees``."""
    found, points, eyes = 0, [], []
    faces = 0
    for entry in json.loads((folder / "annotations.json").read_text())[::every]:
        image_HWC = decode_image(folder / "images" / entry["file"])
        turned_HWC, matrix_23 = _turned(image_HWC, degrees)
        detections = detector.detect(turned_HWC)
        for face in entry["faces"]:
            faces += 1
            best = _best(detections, _boxes(face, matrix_23, degrees))
            if best is None:
                continue
            found += 1
            true_52 = transform_points(np.array(face["landmarks5"]), matrix_23)
            distance = float(np.linalg.norm(true_52[0] - true_52[1]))
            landmarks_52 = detections.landmarks_K52[best]
            points.append(100 * float(np.linalg.norm(landmarks_52 - true_52, axis=1).mean()) / distance)
            aligned_22 = transform_points(true_52[:2], align_matrix(landmarks_52, 1))
            eyes.append(100 * float(np.linalg.norm(aligned_22 - TEMPLATE[:2], axis=1).mean()))
    return {
        "faces": faces,
        "found": found,
        "recall_percent": round(100 * found / faces, 2),
        "point_error_percent": round(float(np.mean(points)), 2),
        "point_error_worst_percent": round(max(points), 2),
        "eye_error_percent": round(float(np.mean(eyes)), 2),
        "eyes_within_6_percent": round(100 * float(np.mean(np.array(eyes) <= 6)), 2),
    }


def _turned(image_HWC: np.ndarray, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo turned counter-clockwise, and the matrix that carries its points along."""
    height, width = image_HWC.shape[:2]
    turned = Image.fromarray(image_HWC).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cosine, sine], [-sine, cosine]])  # y points down
    shift = np.array(turned.size) / 2 - turn @ (width / 2, height / 2)
    return np.array(turned), np.column_stack([turn, shift])


def _boxes(face: dict[str, Any], matrix_23: np.ndarray, degrees: int) -> list[np.ndarray]:
    """The boxes of which either will do."""
    points_P2 = transform_points(np.array(face["landmarks68"]), matrix_23)
    boxes = [np.concatenate([points_P2.min(axis=0), points_P2.max(axis=0)])]
    return [*boxes, np.array(face["box"], float)] if degrees == 0 and face.get("box") else boxes


def _best(detections: Detections, boxes: list[np.ndarray]) -> int | None:
    if not len(detections.boxes_K4):
        return None
    overlap_K = np.max([overlap(detections.boxes_K4, box_4) for box_4 in boxes], axis=0)
    best = int(overlap_K.argmax())
    return best if overlap_K[best] >= _MIN_OVERLAP else None
