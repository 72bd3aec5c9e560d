"""What ``fecnet embed`` reads: photos, folders, lists, packed sets and videos, cut into pieces without reading them."""

from __future__ import annotations

import csv
import itertools
import os
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from fecnet.data.packed import PackedDataset
from fecnet.embed.pieces import PackedPiece, PhotoPiece, Piece, VideoPiece
from fecnet.embed.videos import INSTALL, Video, can_read, is_video
from fecnet.utils.errors import UserError

PIECE = 2048  # pictures
_PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif", ".bmp", ".tif", ".tiff"}
_PICTURES |= {".ppm", ".pgm", ".pbm", ".pnm"}
_LISTS = (".txt", ".lst", ".csv")


class Sources:
    """All sources of a command, as pieces in an order that is the same in every process.

    Args:
        paths: photos, folders, lists (``.txt``, ``.lst``, ``.csv``), packed sets and videos. Folders and lists may
            hold photos and videos.
        every: of a video, every so many frames.

    Attributes:
        paths: the sources as given.
        passed_over: files in folders that are no pictures by their suffix, counted while pieces are made.
        videos_passed_over: videos in folders and lists, which nothing installed can read; counted likewise.

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
        self.passed_over = self.videos_passed_over = 0

    @property
    def packed(self) -> list[PackedDataset]:
        """The packed sets among them."""
        return list(self._packed.values())

    def pieces(self) -> Iterator[Piece]:
        """The pieces, made as they are asked for.

        Raises:
            UserError: a folder or list without a picture.
        """
        self.passed_over = self.videos_passed_over = 0
        for path, prefix in zip(self.paths, self._prefixes(), strict=True):
            yield from self._pieces_of(path, prefix)

    def check(self) -> None:
        """Read the first images of each source, so that errors come before any work is done.

        Raises:
            UserError: a folder or list without a picture, or a file that is not a list.
        """
        for path in self.paths:
            self.passed_over = self.videos_passed_over = 0
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
            yield from self._listed_pieces(path, prefix)

    @property
    def passed_over_text(self) -> str:
        """How many files are passed over, and of which kind; empty if there are none."""
        told = [f"{self.passed_over:,} other files"] if self.passed_over else []
        if self.videos_passed_over:
            told.append(f"{self.videos_passed_over:,} videos, which {INSTALL} lets be read")
        return f"passed over: {', '.join(told)}" if told else ""

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

    def _listed_pieces(self, path: Path, prefix: str) -> Iterator[Piece]:
        """The photos of a folder or list, up to ``PIECE`` together, and each video between them."""
        empty = True
        for video, files in itertools.groupby(self._files(path), key=lambda file: is_video(Path(file[0]))):
            if video and not can_read():
                self.videos_passed_over += sum(1 for _ in files)
                continue
            empty = False
            if video:
                for name, place in files:
                    yield VideoPiece(Path(name), self._every, prefix, place)
            else:
                while some := tuple(itertools.islice(files, PIECE)):
                    yield PhotoPiece(some, prefix)
        if empty:
            raise UserError(f"{path}: no pictures in it; {self.passed_over_text or 'passed over: 0 other files'}")

    def _files(self, path: Path) -> Iterator[tuple[str, str]]:
        """Path and place of each photo or video."""
        if path.is_dir():
            for file in self._below(path):
                yield str(file), file.relative_to(path).as_posix()
        elif path.suffix.lower() in _LISTS:
            for name in _listed(path):
                yield str(path.parent / name), _inside(name)
        else:
            yield str(path), path.name

    def _below(self, folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
        """The images and videos in a folder and below, by name, without hidden files and links to a parent folder."""
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
            elif Path(entry.name).suffix.lower() in _PICTURES or is_video(Path(entry.name)):
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
