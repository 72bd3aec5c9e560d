"""Pieces of sources: a piece is the unit of work of one process, and at most one is lost by an interruption.

The key of a piece identifies its contents.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

from fecnet.data.packed import PackedDataset
from fecnet.embed.videos import Video
from fecnet.encoder.pictures import Item
from fecnet.utils.errors import UserError


class Frame(NamedTuple):
    """An image and its source.

    Attributes:
        name: name of the photo, packed set or video, as it was given.
        place: path of its output, relative to the folder of its source, with ``/``.
        number: row of the packed set or frame of the video, from 0; -1 for a photo.
        time_s: time in the video, seconds; NaN for other sources.
        picture: input of an ``Encoder``.
    """

    name: str
    place: str
    number: int
    time_s: float
    picture: Item


class Piece(Protocol):
    """Some pictures of one source."""

    @property
    def prefix(self) -> str:
        """Prefix of the places of its images: a folder for each source, if there are several.

        It is neither part of the key nor of the places of ``frames``, which do not depend on the other sources.
        """

    @property
    def key(self) -> list[str]:
        """Identifies the piece."""

    @property
    def note(self) -> str:
        """A message for after reading; empty if there is none."""

    def frames(self, first: int) -> Iterator[Frame]:
        """Its pictures, without the first ``first``."""


@dataclass(frozen=True)
class PhotoPiece:
    """Photos: path and place of each."""

    photos: tuple[tuple[str, str], ...]
    prefix: str
    note = ""

    @property
    def key(self) -> list[str]:
        """The paths and places."""
        return ["photos", *itertools.chain.from_iterable(self.photos)]

    def frames(self, first: int) -> Iterator[Frame]:
        """The photos."""
        for path, place in self.photos[first:]:
            yield Frame(path, place, -1, float("nan"), path)


@dataclass(frozen=True)
class PackedPiece:
    """Rows of a packed set."""

    dataset: PackedDataset
    rows: range
    prefix: str
    note = ""

    @property
    def key(self) -> list[str]:
        """The set, by the hash of its faces, and the rows."""
        return ["packed", str(self.dataset.path), self.dataset.faces_sha256, str(self.rows)]

    def frames(self, first: int) -> Iterator[Frame]:
        """The faces."""
        for row in self.rows[first:]:
            yield Frame(str(self.dataset.path), f"{row:08d}", row, float("nan"), self.dataset.faces_NHWC[row])


@dataclass(frozen=True)
class VideoPiece:
    """Every ``every``-th frame of a video; a video without a readable frame counts as one unreadable picture.

    The place of a frame is ``place`` and its number, or only the number where ``place`` is empty.
    """

    path: Path
    every: int
    prefix: str
    place: str = ""

    @property
    def key(self) -> list[str]:
        """The file with its size and date, its place, and which frames."""
        try:
            state = [str(number) for number in (self.path.stat().st_size, self.path.stat().st_mtime_ns)]
        except OSError:  # a missing file of a list is reported in its row
            state = ["absent"]
        return ["video", str(self.path), self.place, *state, str(self.every)]

    @property
    def note(self) -> str:
        """Whether the video ended early, or why there is none."""
        return self._video if isinstance(self._video, str) else self._video.note

    @cached_property
    def _video(self) -> Video | str:
        """The video, opened when it is read; or the error message."""
        try:
            return Video(self.path)
        except (UserError, OSError) as error:
            return str(error)

    def frames(self, first: int) -> Iterator[Frame]:
        """The frames."""
        inside, name = f"{self.place}/" if self.place else "", str(self.path)
        empty = True
        if isinstance(self._video, Video):
            for number, time_s, image_HWC in self._video.frames(self.every, first * self.every):
                empty = False
                yield Frame(name, f"{inside}{number:08d}", number, time_s, image_HWC)
        if empty and not first:
            yield Frame(name, self.place or self.path.name, -1, float("nan"), name)
