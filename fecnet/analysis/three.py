"""``fecnet odd``: which of three photos is the odd one out, and how far the expressions are from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_results import FaceResult
from fecnet.encoder.pictures import OK, STATUS
from fecnet.evaluation.nearest import squared_distances
from fecnet.utils.errors import UserError


@dataclass(frozen=True)
class OddOne:
    """The odd one out of three photos.

    Attributes:
        photos: as they were given.
        odd: 0, 1 or 2; None where two pairs are equally close.
        distances: squared distance, 0..4, of the first and second, first and third, second and third.
        boxes: of the face in each: x1, y1, x2, y2 in pixels; None where the whole photo is the face.
        others: faces beside it in each photo, which were not looked at.
        margin: how much farther the odd one is from the nearer of the two others than these are from each other.
    """

    photos: list[str]
    odd: int | None
    distances: list[float]
    boxes: list[list[float] | None]
    others: list[int]
    margin: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def odd_of_three(encoder: Encoder, photos: Sequence[Path], *, whole: bool = False) -> OddOne:
    """The photo outside the closest pair, by the largest face of each.

    Args:
        encoder: the net.
        photos: three of them.
        whole: each photo is a face; nothing is detected.

    Raises:
        UserError: the net has no embedding; a photo that cannot be read, or without a face.
    """
    encoder.check_output("embedding")
    faces = [_whole(encoder, photo) if whole else _largest(encoder, photo) for photo in photos]
    emb_3D = np.stack([embedding_D for _, _, embedding_D in faces])
    distances = [float(squared_distances(emb_3D[a], emb_3D[b])) for a, b in combinations(range(3), 2)]
    closest, second = np.sort(distances)[:2].tolist()
    odd = 2 - int(np.argmin(distances)) if closest < second else None
    boxes, others = [box for box, _, _ in faces], [num for _, num, _ in faces]
    return OddOne([str(photo) for photo in photos], odd, distances, boxes, others, second - closest)


def _whole(encoder: Encoder, photo: Path) -> tuple[None, int, np.ndarray]:
    emb_1D, (status,) = encoder.embed(photo, return_status=True)
    if status != OK:
        raise UserError(f"{photo}: {status}: {STATUS[status]}")
    return None, 0, emb_1D[0]


def _largest(encoder: Encoder, photo: Path) -> tuple[list[float], int, np.ndarray]:
    faces = encoder.analyze(photo)
    if not faces:
        raise UserError(f"{photo}: no_face: {STATUS['no_face']}; a picture that is a face: --whole")
    face = max(faces, key=_area)
    if face.embedding_D is None:
        raise UserError(f"{photo}: {face.status}: {STATUS[face.status]}")
    return face.box_4.tolist(), len(faces) - 1, face.embedding_D


def _area(face: FaceResult) -> float:
    return math.prod((face.box_4[2:] - face.box_4[:2]).tolist())
