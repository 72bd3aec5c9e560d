"""The sources of ``fecnet embed``: photos, folders, lists, packed sets and videos, divided into pieces when needed."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from fecnet.data.packed import PackedDataset
from fecnet.embed.pieces import PackedPiece, PhotoPiece, Piece, VideoPiece
from fecnet.embed.videos import INSTALL as INSTALL_VIDEO
from fecnet.embed.videos import Video, can_read
from fecnet.faces.picture_files import INSTALL, count_suffixes, has_decoder, is_picture, is_video
from fecnet.faces.picture_lists import LIST_SUFFIXES, read_paths, system_path
from fecnet.utils.errors import UserError

PIECE = 2048  # pictures


class Sources:
    """All sources of a command, as pieces in an order that is the same in every process.

    Args:
        paths: photos, folders, lists (``LIST_SUFFIXES``), packed sets and videos. Folders and lists may contain photos
            and videos.
        every: every ``every``-th frame of a video is used.
        once: use a photo, set or video only once if several sources, or one list, name it repeatedly.

    Attributes:
        paths: the argument.
        every: the argument.
        repeated: number of repeated photos, sets and videos that were skipped; counted while pieces are made.
        passed_over: number of files in folders without the suffix of an image; counted while pieces are made.
        without_decoder: suffixes of images in folders for which no decoder is installed, with their counts.
        videos_passed_over: number of videos in folders and lists that were skipped, since no reader is installed.

    Raises:
        UserError: a source does not exist or cannot be read.
    """

    def __init__(self, paths: Iterable[str | Path], *, every: int = 1, once: bool = False) -> None:
        if every < 1:
            raise UserError(f"every: {every}; allowed: 1 or more")
        self.every, self._once = every, once
        self.paths = [Path(path) for path in paths]
        self._packed = {path: PackedDataset(path) for path in self.paths if (path / "dataset.json").is_file()}
        for path in self.paths:
            self._check(path)
        self._forget()

    @property
    def packed(self) -> list[PackedDataset]:
        """The packed sets among the sources."""
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
        """Read lists, and the first images of other sources, so that errors are raised before any work is done.

        Raises:
            UserError: a folder or list without a picture, a list whose files are all missing, or a file that is not a
                list.
        """
        for path in self.paths:
            self._forget()
            next(self._pieces_of(path, ""), None)
            if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
                self._check_listed(path)

    def _pieces_of(self, path: Path, prefix: str) -> Iterator[Piece]:
        if path in self._packed:
            dataset = self._packed[path]
            if not self._is_new(str(path)):
                return
            for first in range(0, len(dataset.faces_NHWC), PIECE):
                rows = range(first, min(first + PIECE, len(dataset.faces_NHWC)))
                yield PackedPiece(dataset, rows, prefix)
        elif is_video(path) and not path.is_dir():
            if self._is_new(str(path)):
                yield VideoPiece(path, self.every, prefix)
        else:
            yield from self._listed_pieces(path, prefix)

    @property
    def passed_over_text(self) -> str:
        """How many files were skipped, by kind; empty if none were."""
        told = [f"{self.passed_over:,} other files"] if self.passed_over else []
        if self.without_decoder:
            told.append(count_suffixes(self.without_decoder))
        if self.videos_passed_over:
            told.append(f"{self.videos_passed_over:,} videos, which {INSTALL_VIDEO} lets be read")
        if self.repeated:
            told.append(f"{self.repeated:,} given before")
        return f"passed over: {', '.join(told)}" if told else ""

    def _forget(self) -> None:
        self.passed_over = self.videos_passed_over = self.repeated = 0
        self.without_decoder = Counter[str]()
        self._seen: set[str] = set()

    def _is_new(self, name: str) -> bool:
        """Whether to use a photo, set or video: false for a repeated one with ``once``."""
        if not self._once:
            return True
        full, before = os.path.abspath(name), len(self._seen)  # noqa: PTH100 - a link is another picture
        self._seen.add(full)
        is_new = len(self._seen) > before
        self.repeated += not is_new
        return is_new

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

    def _check_listed(self, path: Path) -> None:
        total, first, there = 0, "", False
        for name, _ in self._files(path):
            total, first = total + 1, first or name
            there = there or os.path.exists(name)  # noqa: PTH110 - Path.exists raises for what is no name
        if not there:
            seen = f"none of the {total:,} files in it is there, the first of them {first}"
            raise UserError(f"{path}: {seen}; allowed: paths relative to the folder of the list, or absolute ones")

    def _prefixes(self) -> list[str]:
        """A separate folder for each source, where there are several."""
        if len(self.paths) == 1:
            return [""]
        names = [path.resolve().name for path in self.paths]
        return [f"{name}/" if names.count(name) == 1 else f"{place:03d}-{name}/" for place, name in enumerate(names)]

    def _listed_pieces(self, path: Path, prefix: str) -> Iterator[Piece]:
        """The photos of a folder or list, up to ``PIECE`` together, and each video between them."""
        empty = True
        for video, files in itertools.groupby(self._files(path), key=lambda file: is_video(file[0])):
            if video and not can_read():
                self.videos_passed_over += sum(1 for _ in files)
                continue
            empty = False
            files = (file for file in files if self._is_new(file[0]))
            if video:
                for name, place in files:
                    yield VideoPiece(Path(name), self.every, prefix, place)
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
        elif path.suffix.lower() in LIST_SUFFIXES:
            for listed in read_paths(path):
                name = system_path(path.parent, listed)
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
            elif has_decoder(entry.name) or is_video(entry.name):
                yield Path(entry.path)
            else:
                self._pass_over(Path(entry.name))


def _inside(name: str) -> str:
    """The path of a listed photo without parts that lead out of a folder."""
    return "/".join(part for part in PurePath(name).parts if part not in ("/", "..", "\\"))
