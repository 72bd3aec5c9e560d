"""``fecnet odd``: which of three photos is the odd one out, and how different the expressions are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import STATUS
from fecnet.encoder.results import FaceResult
from fecnet.evaluation.nearest import squared_distances
from fecnet.faces.which import Which, check_which
from fecnet.layers.choice import choice_log_probabilities
from fecnet.utils.errors import UserError


@dataclass(frozen=True)
class Compared:
    """Comparison of three embeddings.

    Attributes:
        odd: 0, 1 or 2: the one outside the closest pair; None where two pairs are equally close.
        distances: squared distance, 0..4, of the first and second, first and third, second and third.
        probabilities: probability that people choose the first, second, third as the odd one
            (``fecnet.layers.choice``).
        margin: second-smallest minus smallest distance.
    """

    odd: int | None
    distances: list[float]
    probabilities: list[float]
    margin: float


def compare_three(emb_3D: np.ndarray, scale: float) -> Compared:
    """The odd one out of three embeddings.

    Args:
        emb_3D: unit vectors, shape (3, D).
        scale: scale of the distances in the probabilities, ``Encoder.choice_scale``.
    """
    distances = [float(squared_distances(emb_3D[a], emb_3D[b])) for a, b in combinations(range(3), 2)]
    closest, second = np.sort(distances)[:2].tolist()
    odd = 2 - int(np.argmin(distances)) if closest < second else None
    opposite_13 = torch.tensor([distances[::-1]], dtype=torch.float64)
    probabilities = choice_log_probabilities(opposite_13, scale).exp()[0].tolist()
    return Compared(odd, distances, probabilities, second - closest)


@dataclass(frozen=True)
class OddOne:
    """The odd one out of three photos.

    Attributes:
        photos: as they were given.
        odd: 0, 1 or 2; None where two pairs are equally close.
        distances: see ``Compared``.
        probabilities: see ``Compared``.
        boxes: box of the face in each: x1, y1, x2, y2 in pixels; None where the whole photo is the face.
        others: number of further faces in each photo, which were not used.
        margin: see ``Compared``.
    """

    photos: list[str]
    odd: int | None
    distances: list[float]
    probabilities: list[float]
    boxes: list[list[float] | None]
    others: list[int]
    margin: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def odd_of_three(encoder: Encoder, photos: Sequence[Path], *, faces: Which = "auto") -> OddOne:
    """The photo outside the closest pair, by the largest face of each.

    Args:
        encoder: the net.
        photos: three photos.
        faces: see ``Encoder``; not ``all``.

    Raises:
        UserError: the net has no embedding; a photo that cannot be read, or without a face.
    """
    encoder.check_output("embedding")
    check_which(faces, ("auto", "largest", "whole"))
    found = [_one_of(encoder, photo, whole=faces == "whole") for photo in photos]
    emb_3D = np.stack([np.asarray(face.embedding_D) for face, _ in found])
    compared = compare_three(emb_3D, encoder.choice_scale)
    boxes = [None if np.isnan(face.box_4).any() else face.box_4.tolist() for face, _ in found]
    names, others = [str(photo) for photo in photos], [num for _, num in found]
    return OddOne(
        names, compared.odd, compared.distances, compared.probabilities, boxes, others, margin=compared.margin
    )


def _one_of(encoder: Encoder, photo: Path, *, whole: bool) -> tuple[FaceResult, int]:
    """The largest face of a photo, and the number of other faces."""
    faces = encoder.analyze(photo, faces="whole" if whole else "all")
    if not (faces := faces or encoder.analyze(photo, faces="largest")):  # "largest" tries a second detection
        raise UserError(f"{photo}: no_face: {STATUS['no_face']}; a picture that is a face: --faces whole")
    face = max(faces, key=_area)
    if face.embedding_D is None:
        raise UserError(f"{photo}: {face.status}: {STATUS[face.status]}")
    return face, len(faces) - 1


def _area(face: FaceResult) -> float:
    return math.prod((face.box_4[2:] - face.box_4[:2]).tolist())
