"""Streams the faces of labelled images into a packed data set, without repetitions, with landmark masks or crops."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.prepare.labelled.face_cutters import FaceCutter
from fecnet.prepare.labelled.labelled_source import TRAIN, LabelledPicture, LabelledSource
from fecnet.prepare.writer import PackedWriter, face_key
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

_CHUNK = 256  # faces held in memory before they are written


@dataclass
class Written:
    """The kept faces and their flags in the order of faces.npy, and counts of dropped ones by split and reason.

    ``landmarks`` counts the kept faces with landmarks ``found`` and ``not_found``, where detected.
    """

    pictures: list[LabelledPicture] = field(default_factory=list)
    flags: dict[str, list[bool]] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    landmarks: Counter[str] = field(default_factory=Counter)


def write_faces(
    writer: PackedWriter, source: LabelledSource, cutter: FaceCutter, landmarks: LandmarkFaces | None
) -> Written:
    """Stream the images into the writer, training split first, so that the first of identical faces is a training face.

    Args:
        writer: an open writer, with room for all images of the source.
        source: output of a reader.
        cutter: cuts the faces.
        landmarks: adds masks or crops, or None.

    Returns:
        The faces written, for their labels.
    """
    written = Written()
    first_row: dict[bytes, int] = {}
    faces: list[np.ndarray] = []
    records: list[dict[str, Any]] = []
    keys, pictures = _distinct(source, written)
    for place, face in cutter.cut(pictures):
        picture = pictures[place]
        if isinstance(face, str):
            written.dropped[picture.split, face] += 1
            continue
        digest = sha256(np.ascontiguousarray(face.image_SSC).data).digest()
        first = first_row.setdefault(digest, len(written.pictures))
        records.append(_record(keys[place], picture, face.record, first, written))
        faces.append(face.image_SSC)
        if len(faces) == _CHUNK:
            _add_faces(writer, faces, records, landmarks, written)
            faces, records = [], []
    if faces:
        _add_faces(writer, faces, records, landmarks, written)
    return written


def _distinct(source: LabelledSource, written: Written) -> tuple[list[str], list[LabelledPicture]]:
    """Keys and images with the training split first, each with its box once; counts the others as dropped."""
    keyed = [(face_key(picture.source, picture.box), picture) for picture in source.pictures]
    disagree = _disagreements(source, keyed)
    distinct: dict[str, LabelledPicture] = {}
    for key, picture in sorted(keyed, key=lambda pair: pair[1].split != TRAIN):
        if key in disagree:
            written.dropped[picture.split, disagree[key]] += 1
        elif distinct.setdefault(key, picture) is not picture:
            written.dropped[picture.split, "repeated"] += 1
    return [*distinct], [*distinct.values()]


def _disagreements(source: LabelledSource, keyed: Sequence[tuple[str, LabelledPicture]]) -> dict[str, str]:
    """The reason for dropping all rows of a face, by its key: they have different labels or persons."""
    said: dict[str, LabelledPicture] = {}
    found: dict[str, str] = {}
    example = ""
    for key, picture in keyed:
        first = said.setdefault(key, picture)
        if first is picture or key in found:
            continue
        if (first.label, first.votes) != (picture.label, picture.votes):
            found[key] = "labels_disagree"
            example = (
                example or f"{picture.source} is {source.classes[first.label]} and {source.classes[picture.label]}"
            )
        elif first.subject != picture.subject:
            found[key] = "subjects_disagree"
            example = example or f"{picture.source} shows {shown(first.subject)} and {shown(picture.subject)}"
    if found:
        logger.warning("%s: warning: rows disagree on %d faces, not read: %s", source.origin, len(found), example)
    return found


def _add_faces(
    writer: PackedWriter,
    faces: list[np.ndarray],
    records: list[dict[str, Any]],
    landmarks: LandmarkFaces | None,
    written: Written,
) -> None:
    """Write a chunk of faces, with their landmarks."""
    if landmarks:
        faces, points = landmarks.make(faces)
        for record, points_52 in zip(records, points, strict=True):
            written.landmarks["not_found" if points_52 is None else "found"] += 1
            if points_52 is not None:
                record["landmarks"] = " ".join(f"{value:.2f}" for value in points_52.ravel())
    writer.add_faces(faces, records)


def _record(
    key: str, picture: LabelledPicture, detected: dict[str, str], first: int, written: Written
) -> dict[str, Any]:
    """Append the face to ``written`` and return its row of faces.csv.

    Args:
        key: key of the face.
        picture: picture of the face.
        detected: fields of the row about the detection.
        first: the first row with the same pixels.
        written: the faces so far.
    """
    written.pictures.append(picture)
    row = len(written.pictures) - 1
    flags = {
        "duplicate": first != row,
        "duplicate_in_train": picture.split != TRAIN and written.pictures[first].split == TRAIN,
    }
    for flag, holds in flags.items():
        written.flags.setdefault(flag, []).append(holds)
    words = [flag for flag, holds in flags.items() if holds] + detected.get("flags", "").split()
    return detected | {
        "key": key,
        "source": picture.source,
        "box": " ".join(f"{edge:g}" for edge in picture.box),
        "subject": picture.subject,
        "sequence": picture.sequence,
        "duplicate_of": first if first != row else "",
        "flags": " ".join(words),
    }
