"""What ``fecnet embed`` reads: photos, folders, lists, packed sets and videos, cut into pieces without reading them.

A piece is the unit of work of one process, and the most that an interruption loses. Its key identifies its contents.
"""

from __future__ import annotations

import csv
import itertools
import os
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol

from fecnet.data.packed import PackedDataset
from fecnet.embed.videos import Video, is_video
from fecnet.encoder.pictures import Item
from fecnet.utils.errors import UserError

PIECE = 2048  # pictures
_PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff"}
_PICTURES |= {".ppm", ".pgm", ".pbm", ".pnm"}
_LISTS = (".txt", ".lst", ".csv")


class Frame(NamedTuple):
    """An image and its source.

    Attributes:
        name: of the photo, packed set or video, as it was given.
        place: path of its output, relative to the folder of its source, with ``/``.
        number: row of the packed set or frame of the video, from 0; -1 of a photo.
        time_s: in the video; NaN elsewhere.
        picture: what an ``Encoder`` takes.
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

        It is neither in the key nor in the places that ``frames`` gives: these do not depend on the other sources.
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
    """A whole video, every so many frames of it."""

    path: Path
    every: int
    prefix: str

    @property
    def key(self) -> list[str]:
        """The file with its size and date, and which frames."""
        state = self.path.stat()
        return ["video", str(self.path), str(state.st_size), str(state.st_mtime_ns), str(self.every)]

    @property
    def note(self) -> str:
        """Whether the video ended early."""
        return self._video.note

    @cached_property
    def _video(self) -> Video:
        """Opened when it is read."""
        return Video(self.path)

    def frames(self, first: int) -> Iterator[Frame]:
        """The frames."""
        for number, time_s, image_HWC in self._video.frames(self.every, first * self.every):
            yield Frame(str(self.path), f"{number:08d}", number, time_s, image_HWC)


class Sources:
    """All sources of a command, as pieces in an order that is the same in every process.

    Args:
        paths: photos, folders, lists of photos (``.txt``, ``.lst``, ``.csv``), packed sets and videos.
        every: of a video, every so many frames.

    Attributes:
        paths: the sources as given.
        passed_over: files in folders that are not images by their suffix, counted while pieces are made.

    Raises:
        UserError: a source that is not there, or is nothing that can be read.
    """

    def __init__(self, paths: Iterable[str | Path], *, every: int = 1) -> None:
        if every < 1:
            raise UserError(f"every: {every}; allowed: 1 or more")
        self._every = every
        self.paths = [Path(path) for path in paths]
        self._packed = {path: PackedDataset(path) for path in self.paths if (path / "dataset.json").is_file()}
        for path in self.paths:
            self._check(path)
        self.passed_over = 0

    @property
    def packed(self) -> list[PackedDataset]:
        """The packed sets among them."""
        return list(self._packed.values())

    def pieces(self) -> Iterator[Piece]:
        """The pieces, made as they are asked for.

        Raises:
            UserError: a folder or list without a picture.
        """
        self.passed_over = 0
        for path, prefix in zip(self.paths, self._prefixes(), strict=True):
            yield from self._pieces_of(path, prefix)

    def check(self) -> None:
        """Read the first images of each source, so that errors come before any work is done.

        Raises:
            UserError: a folder or list without a picture, or a file that is not a list.
        """
        for path in self.paths:
            self.passed_over = 0
            next(self._pieces_of(path, ""), None)

    def _pieces_of(self, path: Path, prefix: str) -> Iterator[Piece]:
        if path in self._packed:
            dataset = self._packed[path]
            for first in range(0, len(dataset.faces_NHWC), PIECE):
                rows = range(first, min(first + PIECE, len(dataset.faces_NHWC)))
                yield PackedPiece(dataset, rows, prefix)
        elif is_video(path):
            yield VideoPiece(path, self._every, prefix)
        else:
            yield from self._photo_pieces(path, prefix)

    def _check(self, path: Path) -> None:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        if path in self._packed or path.is_dir():
            return
        if is_video(path):
            Video(path)
        elif path.suffix.lower() not in _LISTS and path.suffix.lower() not in _PICTURES:
            raise UserError(
                f"{path}: '{path.suffix}' names no picture, video or list; allowed: pictures, videos, a folder, a "
                f"packed set, or a list of photos ({', '.join(_LISTS)})"
            )

    def _prefixes(self) -> list[str]:
        """A folder of its own for each source, where there are several."""
        if len(self.paths) == 1:
            return [""]
        names = [path.resolve().name for path in self.paths]
        return [f"{name}/" if names.count(name) == 1 else f"{place:03d}-{name}/" for place, name in enumerate(names)]

    def _photo_pieces(self, path: Path, prefix: str) -> Iterator[Piece]:
        photos = self._photos(path)
        empty = True
        while some := tuple(itertools.islice(photos, PIECE)):
            empty = False
            yield PhotoPiece(some, prefix)
        if empty:
            raise UserError(f"{path}: no pictures in it; passed over: {self.passed_over} other files")

    def _photos(self, path: Path) -> Iterator[tuple[str, str]]:
        """Path and place of each photo."""
        if path.is_dir():
            for file in self._below(path):
                yield str(file), file.relative_to(path).as_posix()
        elif path.suffix.lower() in _LISTS:
            for name in _listed(path):
                yield str(path.parent / name), _inside(name)
        else:
            yield str(path), path.name

    def _below(self, folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
        """The images in a folder and below, by name, without hidden files and links to a parent folder."""
        real = os.path.realpath(folder)
        if real in above:
            return
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from self._below(Path(entry.path), above | {real})
            elif Path(entry.name).suffix.lower() in _PICTURES:
                yield Path(entry.path)
            else:
                self.passed_over += 1


def _listed(path: Path) -> Iterator[str]:
    """The photos of a list: a path a line, or the column ``path`` of a CSV file with that in its first line.

    Raises:
        UserError: not text in UTF-8, or a CSV file without that column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix.lower() != ".csv":
                yield from (line.strip() for line in file if line.strip())
                return
            rows = csv.reader(file)
            head = next(rows, [])
            if "path" not in head:
                seen = textwrap.shorten(", ".join(head), 200) or "none"
                raise UserError(f"{path}: a list of photos without a column 'path'; columns seen: {seen}")
            column = head.index("path")
            yield from (row[column] for row in rows if row)
    except (UnicodeDecodeError, csv.Error, IndexError) as error:
        raise UserError(f"{path}: not a list of photos in UTF-8: {error}") from error


def _inside(name: str) -> str:
    """The path of a listed photo without parts that lead out of a folder."""
    return "/".join(part for part in PurePath(name).parts if part not in ("/", "..", "\\"))
