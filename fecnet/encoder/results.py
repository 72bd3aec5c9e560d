"""The results of a net for pictures: all outputs by row, classes, and everything about one face.

Shape suffixes: N rows, K classes, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from fecnet.encoder.pictures import OK


class Encoded(NamedTuple):
    """The outputs for pictures: one row per picture, or with ``faces="all"`` one per face.

    A picture without a face also has one row.

    Attributes:
        outputs: each output of the net by name, float32, shape (N, …); rows of NaN where there is no face.
        status: ``ok`` or another key of ``fecnet.encoder.pictures.STATUS`` for each row.
        picture_N: index of each row's picture among those given, int64, from 0, shape (N,).
        box_N4: box of the detector, float32, shape (N, 4): x1, y1, x2, y2 in pixels of the picture; may reach beyond
            it. NaN where nothing was detected.
        score_N: score of the detector, float32, 0..1, shape (N,); NaN where nothing was detected.
        landmarks_N52: image-left eye, image-right eye, nose tip, image-left and image-right mouth corner, float32,
            pixels, shape (N, 5, 2); NaN where nothing was detected.
    """

    outputs: dict[str, np.ndarray]
    status: list[str]
    picture_N: np.ndarray
    box_N4: np.ndarray
    score_N: np.ndarray
    landmarks_N52: np.ndarray


class Classified(NamedTuple):
    """The predicted classes of pictures; rows as in ``Encoded``.

    Attributes:
        names: the most probable class of each row, None where there is no face.
        probability_NK: probability of each class in the order of ``Encoder.classes``, or of the requested label set,
            float32, shape (N, K); rows of NaN where there is no face.
        status: see ``Encoded``.
        picture_N: see ``Encoded``.
        box_N4: see ``Encoded``.
        score_N: see ``Encoded``.
    """

    names: list[str | None]
    probability_NK: np.ndarray
    status: list[str]
    picture_N: np.ndarray
    box_N4: np.ndarray
    score_N: np.ndarray


@dataclass(frozen=True)
class FaceResult:
    """One face of a picture; outputs are None where the net does not have them or the status is not ``ok``.

    Attributes:
        box_4: x1, y1, x2, y2 in pixels of the picture, float32, shape (4,); may reach beyond it. NaN where the whole
            picture is the face.
        score: score of the detector, 0..1; NaN where the whole picture is the face.
        status: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``.
        expression: the most probable class.
        probability_K: probability of each class, in the order of ``Encoder.classes``, float32, shape (K,).
        valence: about -1..1.
        arousal: about -1..1.
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


def face_results(encoded: Encoded, classes: Sequence[str]) -> Iterator[FaceResult]:
    """Each row of the outputs as the result of one face.

    Args:
        encoded: the rows.
        classes: names in the order of the logits.
    """
    outputs = encoded.outputs
    probability_NK = probabilities(outputs["logits"]) if "logits" in outputs else None
    for row, status in enumerate(encoded.status):
        box_4, score = encoded.box_N4[row], float(encoded.score_N[row])
        if status != OK:
            yield FaceResult(box_4, score, status)
            continue
        probability_K = None if probability_NK is None else probability_NK[row]
        valence, arousal = outputs["valence_arousal"][row].tolist() if "valence_arousal" in outputs else (None, None)
        yield FaceResult(
            box_4,
            score,
            status,
            expression=None if probability_K is None else classes[int(probability_K.argmax())],
            probability_K=probability_K,
            valence=valence,
            arousal=arousal,
            embedding_D=outputs["embedding"][row] if "embedding" in outputs else None,
        )


def probabilities(logits_NK: np.ndarray) -> np.ndarray:
    """Probability of each class, float32, shape (N, K)."""
    return torch.from_numpy(logits_NK).softmax(dim=1).numpy()
