"""Streams labelled images into a packed data set: square crops, without repetitions, with landmark masks or crops."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from tqdm import tqdm

from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.faces.square_faces import load_square
from fecnet.prepare.labelled.labelled_source import TRAIN, LabelledPicture, LabelledSource
from fecnet.prepare.writer import PackedWriter, face_key

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
    writer: PackedWriter,
    source: LabelledSource,
    size: int,
    grey: bool,
    landmarks: LandmarkFaces | None,
    progress: bool,
) -> Written:
    """Stream the images into the writer, training split first, so that the first of identical faces is a training face.

    Args:
        writer: an open one, with room for all images of the source.
        source: output of a reader.
        size: side of a face, pixels.
        grey: one channel instead of three.
        landmarks: adds masks or crops, or None.
        progress: show a progress bar.

    Returns:
        The faces written, for their labels.
    """
    written = Written()
    first_row: dict[bytes, int] = {}
    known: set[str] = set()
    faces: list[np.ndarray] = []
    records: list[dict[str, Any]] = []
    ordered = sorted(source.pictures, key=lambda picture: picture.split != TRAIN)
    disagree = _disagreements(source)
    for picture in tqdm(ordered, desc="pictures", unit="picture", disable=not progress):
        key = face_key(picture.source, picture.box)
        if key in disagree:
            face: np.ndarray | str = "labels_disagree"
        else:
            face = "repeated" if key in known else load_square(picture.picture, picture.box, size, grey=grey)
        known.add(key)
        if isinstance(face, str):
            written.dropped[picture.split, face] += 1
            continue
        first = first_row.setdefault(sha256(face.tobytes()).digest(), len(written.pictures))
        records.append(_record(key, picture, first, written))
        faces.append(face)
        if len(faces) == _CHUNK:
            _add_faces(writer, faces, records, landmarks, written)
            faces, records = [], []
    if faces:
        _add_faces(writer, faces, records, landmarks, written)
    return written


def _disagreements(source: LabelledSource) -> set[str]:
    """The keys of faces to which rows give different labels: none of their rows is taken, whatever the order."""
    said: dict[str, LabelledPicture] = {}
    found: dict[str, str] = {}
    for picture in source.pictures:
        key = face_key(picture.source, picture.box)
        first = said.setdefault(key, picture)
        if (first.label, first.votes) != (picture.label, picture.votes):
            names = f"{source.classes[first.label]} and {source.classes[picture.label]}"
            found.setdefault(key, f"{picture.source} is {names}")
    if found:
        example = next(iter(found.values()))
        logger.warning("%s: warning: rows disagree on %d faces, not read: %s", source.origin, len(found), example)
    return {*found}


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
    writer.add_faces(np.stack(faces), records)


def _record(key: str, picture: LabelledPicture, first: int, written: Written) -> dict[str, Any]:
    """Append the face to ``written`` and return its row of faces.csv; ``first`` is the first row of equal pixels."""
    written.pictures.append(picture)
    row = len(written.pictures) - 1
    flags = {
        "duplicate": first != row,
        "duplicate_in_train": picture.split != TRAIN and written.pictures[first].split == TRAIN,
    }
    for flag, holds in flags.items():
        written.flags.setdefault(flag, []).append(holds)
    return {
        "key": key,
        "source": picture.source,
        "box": " ".join(f"{edge:g}" for edge in picture.box),
        "subject": picture.subject,
        "sequence": picture.sequence,
        "duplicate_of": first if first != row else "",
        "flags": " ".join(flag for flag, holds in flags.items() if holds),
    }
