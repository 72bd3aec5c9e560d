"""The faces of a frame, with the predictions for each.

Shape suffixes: K faces, D embedding dimensions; H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fecnet.encoder.encoder import Encoded, Encoder, probabilities
from fecnet.encoder.face_results import cut_note
from fecnet.encoder.pictures import OK
from fecnet.faces.decode import decode_image
from fecnet.faces.detections import overlap
from fecnet.faces.turns import upright
from fecnet.utils.errors import UserError

_SAME = 0.3  # least intersection over union of a face in successive frames; YuNet's NMS threshold


@dataclass(frozen=True)
class FacePrediction:
    """One face of a frame; outputs that the net does not have are None.

    Attributes:
        box_4: x1, y1, x2, y2 in pixels of the frame; may reach beyond it.
        status: ``ok``, or another key of ``fecnet.encoder.pictures.STATUS``, without predictions.
        expression: the most probable class.
        probability: of that class.
        affect: valence and arousal, -1..1.
        embedding_D: unit vector.
        to_reference: squared distance to the face of the reference photo, 0..4.
        change: squared distance to the same face in the frame before.
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
    """Detects all faces of frames, aligns or crops them, and predicts.

    Where the training faces were aligned, each face that the detector finds is given to the encoder as a box with
    ``align``. Otherwise the square around it is cut as in data sets with boxes, with nothing added: the boxes of both
    detectors are as large as the pictures of FER2013 and CK+ (``benchmarks/results/boxes.json``).

    Args:
        encoder: the net.
        whole: each frame is one face; no detection.
        reference: a photo; distances to its largest face are computed.

    Attributes:
        note: a warning if faces are cropped in another way than in training; else empty.

    Raises:
        UserError: the detector is missing; no face in the reference, or a net without an embedding for it.
        OSError: the reference is not there.
    """

    def __init__(self, encoder: Encoder, *, whole: bool = False, reference: Path | None = None) -> None:
        self._encoder, self._whole = encoder, whole
        self._before: Sequence[FacePrediction] = ()
        self._check()
        self.note = "" if encoder.aligned or whole else cut_note(encoder.name)
        self._reference_D = None if reference is None else self._embedding_of(reference)

    def process(self, image_HWC: np.ndarray) -> list[FacePrediction]:
        """The faces of the next frame, uint8 RGB, the highest detector score first."""
        faces = [self._compared(face) for face in self._faces(image_HWC)]
        self._before = faces
        return faces

    def restart(self) -> None:
        """The next frame is of another source."""
        self._before = ()

    def _check(self) -> None:
        """Fail now, not at the first face, which may come minutes later."""
        blank_HWC = np.zeros((9, 9, 3), np.uint8)
        if not self._whole:
            self._encoder.find_faces(blank_HWC)
        if self._encoder.aligned and not self._whole:
            self._encoder.check_align()
        else:
            self._encoder.encode([blank_HWC], boxes=[None if self._whole else (0, 0, 9, 9)])

    def _faces(self, image_HWC: np.ndarray) -> list[FacePrediction]:
        if self._whole:
            whole_4 = np.array([0, 0, image_HWC.shape[1], image_HWC.shape[0]], np.float32)
            return _predictions(self._encoder.encode([image_HWC], steady=False), [whole_4], self._encoder.classes)
        found = self._encoder.find_faces(image_HWC)
        boxes = list(found.boxes_K4)
        pictures, cuts = [image_HWC] * len(boxes), boxes
        if self._encoder.tries_turns and boxes and not self._encoder.aligned:  # else alignment turns the face
            faces = (upright(image_HWC, *face) for face in zip(boxes, found.landmarks_K52, strict=True))
            pictures, cuts = map(list, zip(*faces, strict=True))
        encoded = self._encoder.encode(pictures, align=self._encoder.aligned, boxes=cuts, steady=False)
        return _predictions(encoded, boxes, self._encoder.classes)

    def _embedding_of(self, path: Path) -> np.ndarray:
        self._encoder.check_output("embedding")
        there = [face for face in self._faces(decode_image(path)) if face.embedding_D is not None]
        if not there:
            raise UserError(f"{path}: no face in it that could be compared")
        largest = max(there, key=lambda face: float(np.prod(face.box_4[2:] - face.box_4[:2])))
        assert largest.embedding_D is not None
        return largest.embedding_D

    def _compared(self, face: FacePrediction) -> FacePrediction:
        return replace(
            face,
            to_reference=_distance(face.embedding_D, self._reference_D),
            change=_distance(face.embedding_D, _same_face(face.box_4, self._before)),
        )


def _predictions(encoded: Encoded, boxes: Sequence[np.ndarray], classes: Sequence[str]) -> list[FacePrediction]:
    """The predictions for the face in each box."""
    found = encoded.outputs
    probability_KC = probabilities(found["logits"]) if "logits" in found else None  # K faces, C classes
    faces = []
    for row, (box_4, status) in enumerate(zip(boxes, encoded.status, strict=True)):
        face = FacePrediction(box_4, status)
        if status == OK and probability_KC is not None:
            best = int(probability_KC[row].argmax())
            face = replace(face, expression=classes[best], probability=float(probability_KC[row, best]))
        if status == OK and "valence_arousal" in found:
            valence, arousal = found["valence_arousal"][row].tolist()
            face = replace(face, affect=(valence, arousal))
        if status == OK and "embedding" in found:
            face = replace(face, embedding_D=found["embedding"][row])
        faces.append(face)
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
