"""What a reader of labelled pictures gives: the one record that ``prepare_labelled`` packs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TRAIN, ALL = "train", "all"  # names of splits; "all" where the source publishes none


@dataclass(frozen=True)
class LabelledPicture:
    """One labelled face.

    Attributes:
        source: what names it within its source, such as a relative path or ``fer2013.csv#17``.
        picture: a file, or the pixels: uint8, shape (H, W) grey or (H, W, 3) RGB.
        label: index into the classes of its source.
        split: e.g. ``train``.
        subject: who it is, or nothing.
        sequence: the film it is from, or nothing.
        box: left, top, right, bottom in pixels, where the picture shows more than the face.
        valence_arousal: both in -1..1; NaN = absent.
        votes: for each class of its source, 0 or more and not all 0; None where nobody was asked.
    """

    source: str
    picture: Path | np.ndarray
    label: int
    split: str
    subject: str = ""
    sequence: str = ""
    box: tuple[float, ...] = ()
    valence_arousal: tuple[float, float] | None = None
    votes: tuple[float, ...] | None = None


@dataclass(frozen=True)
class LabelledSource:
    """What a reader found.

    Attributes:
        name: of the label set to write, e.g. ``rafdb``.
        origin: the file or folder that was read, for messages.
        classes: names in label order.
        pictures: in the order of the source.
        size: side of a face where none is asked for, pixels.
        channels: ``grey`` or ``rgb``, where nothing is asked for.
        dropped: rows that became no picture: split to reason to count.
        provenance: file name to sha256 or version.
    """

    name: str
    origin: Path
    classes: tuple[str, ...]
    pictures: Sequence[LabelledPicture]
    size: int
    channels: str = "rgb"
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
