"""What ``fecnet embed`` reads: photos, folders, lists, packed sets and videos, cut into pieces without reading them.

A piece is the unit of work of one process, and the most that an interruption loses. Its key identifies its contents.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol

from fecnet.data.packed import PackedDataset
from fecnet.embed.videos import Video, is_video
from fecnet.encoder.pictures import Item
from fecnet.faces.picture_files import INSTALL, count_suffixes, has_decoder, is_picture
from fecnet.faces.picture_lists import LIST_SUFFIXES, read_paths, system_path
from fecnet.utils.errors import UserError

PIECE = 2048  # pictures


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
        paths: photos, folders, lists of photos (``LIST_SUFFIXES``), packed sets and videos.
        every: of a video, every so many frames.

    Attributes:
        paths: the sources as given.
        passed_over: files in folders that are not images by their suffix, counted while pieces are made.
        without_decoder: suffixes of images in folders that nothing installed decodes; counted likewise.

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
        self._forget()

    @property
    def packed(self) -> list[PackedDataset]:
        """The packed sets among them."""
        return list(self._packed.values())

    def pieces(self) -> Iterator[Piece]:
        """The pieces, made as they are asked for.

        Raises:
            UserError: a folder or list without a picture.
        """
        self._forget()
        for path, prefix in zip(self.paths, self._prefixes(), strict=True):
            yield from self._pieces_of(path, prefix)

    def check(self) -> None:
        """Read the first images of each source, so that errors come before any work is done.

        Raises:
            UserError: a folder or list without a picture, or a file that is not a list.
        """
        for path in self.paths:
            self._forget()
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

    @property
    def passed_over_text(self) -> str:
        """How many files are passed over, and of which kind; empty if there are none."""
        told = [f"{self.passed_over:,} other files"] if self.passed_over else []
        if self.without_decoder:
            told.append(count_suffixes(self.without_decoder))
        return f"passed over: {', '.join(told)}" if told else ""

    def _forget(self) -> None:
        self.passed_over, self.without_decoder = 0, Counter[str]()

    def _pass_over(self, name: Path) -> None:
        if is_picture(name):
            self.without_decoder[name.suffix.lower()] += 1
        else:
            self.passed_over += 1

    def _check(self, path: Path) -> None:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        if path in self._packed or path.is_dir():
            return
        if is_video(path):
            Video(path)
        elif is_picture(path) and not has_decoder(path):
            raise UserError(f"{path}: '{path.suffix}' cannot be read here; {INSTALL}")
        elif path.suffix.lower() not in LIST_SUFFIXES and not is_picture(path):
            raise UserError(
                f"{path}: '{path.suffix}' names no picture, video or list; allowed: pictures, videos, a folder, a "
                f"packed set, or a list of photos ({', '.join(LIST_SUFFIXES)})"
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
            raise UserError(f"{path}: no pictures in it; {self.passed_over_text or 'passed over: 0 other files'}")

    def _photos(self, path: Path) -> Iterator[tuple[str, str]]:
        """Path and place of each photo."""
        if path.is_dir():
            for file in self._below(path):
                yield str(file), file.relative_to(path).as_posix()
        elif path.suffix.lower() in LIST_SUFFIXES:
            for listed in read_paths(path):
                name = system_path(path.parent, listed)
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
            elif has_decoder(entry.name):
                yield Path(entry.path)
            else:
                self._pass_over(Path(entry.name))


def _inside(name: str) -> str:
    """The path of a listed photo without parts that lead out of a folder."""
    return "/".join(part for part in PurePath(name).parts if part not in ("/", "..", "\\"))
