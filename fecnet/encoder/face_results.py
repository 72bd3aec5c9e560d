"""What a net says of each face that a detector found in a picture.

Shape suffixes: K classes, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fecnet.encoder.pictures import OK
from fecnet.faces.detections import Detections
from fecnet.faces.turns import upright


@dataclass(frozen=True)
class FaceResult:
    """One face of a picture; outputs that the net does not have, or that a face without status ``ok`` lacks, are None.

    Attributes:
        box_4: x1, y1, x2, y2 in pixels of the picture, float32; may reach beyond it.
        score: of the detector, 0..1; NaN where the whole picture is the face.
        status: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``.
        expression: the most probable class.
        probability_K: of each class, in the order of ``Encoder.classes``, float32, shape (K,).
        valence: -1..1.
        arousal: -1..1.
        embedding_D: unit vector, float32, shape (D,).
    """

    box_4: np.ndarray
    score: float
    status: str
    expression: str | None = None
    probability_K: np.ndarray | None = None
    valence: float | None = None
    arousal: float | None = None
    embedding_D: np.ndarray | None = None


def face_result(
    box_4: np.ndarray, score: float, status: str, output: Mapping[str, np.ndarray], classes: Sequence[str]
) -> FaceResult:
    """The result of one face.

    Args:
        box_4: see ``FaceResult``.
        score: see ``FaceResult``.
        status: see ``FaceResult``.
        output: the outputs of the net for it, by name.
        classes: names in the order of the logits.
    """
    if status != OK:
        return FaceResult(box_4, score, status)
    probability_K = valence = arousal = None
    if "logits" in output:
        probability_K = torch.from_numpy(output["logits"]).softmax(dim=0).numpy()
    if "valence_arousal" in output:
        valence, arousal = output["valence_arousal"].tolist()
    return FaceResult(
        box_4,
        score,
        status,
        expression=None if probability_K is None else classes[int(probability_K.argmax())],
        probability_K=probability_K,
        valence=valence,
        arousal=arousal,
        embedding_D=output.get("embedding"),
    )


def face_cuts(image_HWC: np.ndarray, found: Detections, *, turn: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each face the picture and the box in it that an ``Encoder`` takes.

    Args:
        image_HWC: uint8, RGB.
        found: its faces.
        turn: turn the picture by quarters until the face is upright; alignment does so by itself.
    """
    faces = zip(found.boxes_K4, found.landmarks_K52, strict=True)
    return [upright(image_HWC, *face) if turn else (image_HWC, face[0]) for face in faces]


def cut_note(name: str) -> str:
    """The warning for a net whose training faces were not aligned, so that detected ones may be cut otherwise."""
    return (
        f"{name}: no record that its training faces were aligned by a detector; each face is cut as the square around "
        "what the detector finds, which may differ from the cut in training"
    )
