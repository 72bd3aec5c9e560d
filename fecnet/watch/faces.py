"""The faces of a frame, with the predictions for each.

Shape suffixes: K faces, D embedding dimensions; H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.encoder.results import Encoded, face_results
from fecnet.faces.decode import decode_image
from fecnet.faces.detections import overlap
from fecnet.faces.which import Which, check_which
from fecnet.utils.errors import UserError

_SAME = 0.3  # least intersection over union of a face in successive frames; YuNet's NMS threshold


@dataclass(frozen=True)
class FacePrediction:
    """One face of a frame; outputs that the net does not have are None.

    Attributes:
        box_4: x1, y1, x2, y2 in pixels of the frame, shape (4,); may reach beyond it.
        status: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``; then there are no predictions.
        expression: the most probable class.
        probability: probability of that class, 0..1.
        affect: valence and arousal, about -1..1.
        embedding_D: unit vector, float32, shape (D,).
        to_reference: squared distance to the face of the reference photo, 0..4.
        change: squared distance to the same face in the previous frame, 0..4.
    """

    box_4: np.ndarray
    status: str
    expression: str | None = None
    probability: float | None = None
    affect: tuple[float, float] | None = None
    embedding_D: np.ndarray | None = None
    to_reference: float | None = None
    change: float | None = None


class FaceWatcher:
    """Detects the faces of frames and predicts their outputs.

    Args:
        encoder: the net.
        faces: which faces of a frame; see ``Encoder``.
        reference: a photo; distances to its largest face, or to the whole photo, are computed.

    Raises:
        UserError: the detector is missing; no face in the reference, or a net without an embedding for it.
        OSError: the reference is not there.
    """

    def __init__(self, encoder: Encoder, *, faces: Which = "all", reference: Path | None = None) -> None:
        check_which(faces)
        self._encoder, self._which = encoder, faces
        self._before: Sequence[FacePrediction] = ()
        self._check()
        self._reference_D = None if reference is None else self._embedding_of(reference)

    def process(self, image_HWC: np.ndarray) -> list[FacePrediction]:
        """The faces of the next frame, uint8 RGB, the highest detector score first."""
        faces = [self._compared(face) for face in self._faces(image_HWC)]
        self._before = faces
        return faces

    def restart(self) -> None:
        """Forget the last frame: the next one is from another source."""
        self._before = ()

    def _check(self) -> None:
        """Raise errors at the start, not at the first face, which may come minutes later."""
        if self._which != "whole":
            self._encoder.check_detector()
        self._encoder.encode(np.zeros((9, 9, 3), np.uint8), faces="whole")

    def _faces(self, image_HWC: np.ndarray) -> list[FacePrediction]:
        encoded = self._encoder.encode([image_HWC], faces=self._which, steady=False)
        return _predictions(encoded, image_HWC.shape[:2], self._encoder.classes)

    def _embedding_of(self, path: Path) -> np.ndarray:
        self._encoder.check_output("embedding")
        image_HWC = decode_image(path)
        which: Which = "whole" if self._which == "whole" else "largest"
        emb_ND, (status,) = self._encoder.embed([image_HWC], faces=which, return_status=True)
        if status != OK:
            raise UserError(f"{path}: no face in it that could be compared")
        reference_D: np.ndarray = emb_ND[0]
        return reference_D

    def _compared(self, face: FacePrediction) -> FacePrediction:
        return replace(
            face,
            to_reference=_distance(face.embedding_D, self._reference_D),
            change=_distance(face.embedding_D, _same_face(face.box_4, self._before)),
        )


def _predictions(encoded: Encoded, size: tuple[int, int], classes: Sequence[str]) -> list[FacePrediction]:
    """The predictions for each face of a frame of that height and width."""
    faces = []
    for face in face_results(encoded, classes):
        box_4 = face.box_4
        if np.isnan(box_4).any():
            if face.status != OK:  # no face in the frame
                continue
            box_4 = np.array([0, 0, size[1], size[0]], np.float32)  # the frame is the face
        faces.append(
            FacePrediction(
                box_4,
                face.status,
                expression=face.expression,
                probability=None if face.probability_K is None else float(face.probability_K.max()),
                affect=None if face.valence is None or face.arousal is None else (face.valence, face.arousal),
                embedding_D=face.embedding_D,
            )
        )
    return faces


def _same_face(box_4: np.ndarray, before: Sequence[FacePrediction]) -> np.ndarray | None:
    """The embedding of the overlapping face in the previous frame; None without one."""
    if not before:
        return None
    overlap_K = overlap(np.stack([face.box_4 for face in before]), box_4)
    best = int(overlap_K.argmax())
    return before[best].embedding_D if overlap_K[best] >= _SAME else None


def _distance(one_D: np.ndarray | None, other_D: np.ndarray | None) -> float | None:
    return None if one_D is None or other_D is None else float(np.square(one_D - other_D).sum())
