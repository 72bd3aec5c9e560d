"""The output of a reader of labelled images, the input of ``prepare_labelled``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TRAIN, ALL = "train", "all"  # names of splits; "all" where the source has none


@dataclass(frozen=True)
class LabelledPicture:
    """One labelled face.

    Attributes:
        source: its identifier within the source, such as a relative path or ``fer2013.csv#17``.
        picture: an image file, or the pixels: uint8, shape (H, W) grey or (H, W, 3) RGB.
        label: index into the classes of its source.
        split: e.g. ``train``.
        subject: identity of the face, or empty.
        sequence: video or sequence of the face, or empty.
        box: left, top, right, bottom in pixels, where the image shows more than the face.
        valence_arousal: both in -1..1; NaN = missing.
        votes: number or share of votes for each class of its source, 0 or more and not all 0; None without votes.
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
    """The labelled images of a source.

    Attributes:
        name: name of the label set to write, e.g. ``rafdb``.
        origin: the file or folder that was read, for error messages.
        classes: names in label order.
        pictures: the images in the order of the source.
        size: default side of a face, pixels.
        channels: default channels, ``grey`` or ``rgb``.
        dropped: counts of dropped rows: split to reason to count.
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
