"""Outputs of pieces, one file each: work that survives interruption, by one process or many.

Shape suffixes: N pictures, D numbers of each.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.embed.pieces import Frame, Piece
from fecnet.embed.sources import PIECE
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import Item
from fecnet.faces.which import Which
from fecnet.utils.errors import UserError
from fecnet.utils.files import read_arrays, replace_arrays, replace_json

_ARRAYS = ("vector", "status", "name", "place", "number", "time_s", "box", "score", "picture")


@dataclass(frozen=True)
class Rows:
    """Images, or all faces of images, in order, with their outputs.

    Attributes:
        vector_ND: float32, shape (N, D); rows of NaN where there is no face.
        status: ``ok`` or the reason why there is no face, N words.
        name: see ``Frame``.
        place: see ``Frame``; with all faces of an image, followed by the number of the face, from 0.
        number: see ``Frame``; int64.
        time_s: see ``Frame``; float64.
        box_N4: see ``Encoded``.
        score_N: see ``Encoded``.
        picture_N: index of the image of each row among the images of these rows, int64, shape (N,).
    """

    vector_ND: np.ndarray
    status: np.ndarray
    name: np.ndarray
    place: np.ndarray
    number: np.ndarray
    time_s: np.ndarray
    box_N4: np.ndarray
    score_N: np.ndarray
    picture_N: np.ndarray

    @property
    def num_pictures(self) -> int:
        """Number of images; each has at least one row."""
        return int(self.picture_N[-1]) + 1


def embedded(encoder: Encoder, frames: Iterator[Frame], output: str, *, faces: Which) -> Iterator[Rows]:
    """The outputs for a stream of images, ``PIECE`` at a time; memory does not grow with the stream.

    Batches never cross the boundary of a ``PIECE``, so that a resumed command forms the same batches and gets identical
    results, bit for bit.

    Args:
        encoder: the net.
        frames: the pictures.
        output: ``embedding`` or another output of the net.
        faces: see ``Encoder``; with ``all`` a row for each face.
    """
    for first in frames:
        yield _rows(encoder, itertools.chain([first], itertools.islice(frames, PIECE - 1)), output, faces=faces)


def _rows(encoder: Encoder, some: Iterator[Frame], output: str, *, faces: Which) -> Rows:
    frames: list[Frame] = []

    def pictures() -> Iterator[Item]:
        for frame in some:
            frames.append(frame._replace(picture=""))
            yield frame.picture

    parts = list(encoder.stream(pictures(), faces=faces))
    row_N = np.concatenate([part.picture_N for part in parts])
    seen = [frames[row] for row in row_N.tolist()]
    places = [frame.place for frame in seen]
    if faces == "all":
        places = [f"{place}.{face}" for place, face in zip(places, _counted(row_N.tolist()), strict=True)]
    return Rows(
        np.concatenate([part.outputs[output] for part in parts]),
        np.array([status for part in parts for status in part.status], np.str_),
        np.array([frame.name for frame in seen], np.str_),
        np.array(places, np.str_),
        np.array([frame.number for frame in seen], np.int64),
        np.array([frame.time_s for frame in seen], np.float64),
        np.concatenate([part.box_N4 for part in parts]),
        np.concatenate([part.score_N for part in parts]),
        row_N,
    )


def _counted(rows: Sequence[int]) -> Iterator[int]:
    """The number of each face in its picture, from 0; the faces of a picture are consecutive."""
    for _, group in itertools.groupby(rows):
        yield from range(len(list(group)))


class Shards:
    """The files of finished pieces.

    Args:
        folder: folder of the files; created where absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def stem(self, number: int, piece: Piece) -> str:
        """The name of a piece, unique by position and contents."""
        return f"{number:08d}-{hashlib.sha256(json.dumps(piece.key).encode()).hexdigest()[:16]}"

    def complete(self, stem: str, piece: Piece, encoder: Encoder, output: str, *, faces: Which) -> Iterator[int]:
        """Complete a piece.

        Args:
            stem: of the piece.
            piece: pictures.
            encoder: the net.
            output: see ``embedded``.
            faces: see ``embedded``.

        Returns:
            The number of images in each file, yielded as soon as it is written.

        Raises:
            UserError: a file is damaged.
            OSError: the disk is full or read-only.
        """
        part = done = 0
        while self._path(stem, part).is_file():
            number = int(read_arrays(self._path(stem, part), ("picture",), kind="shard")["picture"][-1]) + 1
            part, done = part + 1, done + number
            yield number
        if self._end(stem).is_file():
            return
        for rows in embedded(encoder, piece.frames(done), output, faces=faces):
            replace_arrays(self._path(stem, part), **dict(zip(_ARRAYS, vars(rows).values(), strict=True)))
            part += 1
            yield rows.num_pictures
        replace_json(self._end(stem), {"parts": part, "note": piece.note})

    def read(self, stem: str, prefix: str) -> Iterator[Rows]:
        """The rows of a piece.

        Args:
            stem: of the piece.
            prefix: prefix of the piece, which is prepended to its places.

        Raises:
            UserError: a file is missing or damaged.
        """
        for part in range(self._ended(stem)["parts"]):
            held = read_arrays(self._path(stem, part), _ARRAYS, kind="shard")
            held["place"] = np.char.add(prefix, held["place"])
            yield Rows(*(held[name] for name in _ARRAYS))

    def note(self, stem: str) -> str:
        """A message about a piece; empty if there is none."""
        return str(self._ended(stem)["note"])

    def _ended(self, stem: str) -> dict[str, Any]:
        file = self._end(stem)
        try:
            ended: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: missing or damaged: {error}; run the same command again") from error
        return ended

    def _path(self, stem: str, part: int) -> Path:
        return self._folder / f"{stem}-{part:06d}.npz"

    def _end(self, stem: str) -> Path:
        """Written when a piece is done."""
        return self._folder / f"{stem}.json"
