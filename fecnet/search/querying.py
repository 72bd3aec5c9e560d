"""``fecnet search query``: the nearest faces of photos, as a table, as JSON, and as a sheet of pictures.

Shape suffixes: Q queries, K nearest, D numbers of each vector.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.embed.embedding_files import shown
from fecnet.embed.shards import embedded
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.evaluation.neighbours import sheet_of_rows
from fecnet.faces.which import Which
from fecnet.search.index import Index, Name, name_of
from fecnet.search.pictures import Pictures
from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

SHEET_ROWS = 20  # queries that a sheet shows
_SAME_BOX = 1.0  # pixels: boxes of one face may differ by rounding in the table


@dataclass(frozen=True)
class Answer:
    """The result of one query.

    Attributes:
        query: the picture.
        status: ``ok``, or why there is no result.
        neighbours: the nearest first, each with its squared distance.
    """

    query: Name
    status: str
    neighbours: list[tuple[Name, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [
            {"rank": rank, "distance": round(distance, 6), **named(name)}
            for rank, (name, distance) in enumerate(self.neighbours, 1)
        ]
        return {**named(self.query), "status": self.status, "neighbours": found}


def ask(index: Index, encoder: Encoder, sources: Sources, num: int, *, faces: Which = "auto") -> list[Answer]:
    """Query with all images of the sources, or with all their faces; a picture of the index is not its own answer.

    Args:
        index: the index to search.
        encoder: the net it was built with.
        sources: the pictures.
        num: neighbours of each.
        faces: see ``Encoder``; faces of packed sets are used unchanged.

    Raises:
        UserError: another net, ``num`` below 1, a source that does not fit, or none of the pictures has a face.
    """
    index.check_model(encoder)
    if num < 1:
        raise UserError(f"k: {num}; allowed: 1 or more")
    pieces = sources.pieces()
    rows = [some for piece in pieces for some in embedded(encoder, piece.frames(0), "embedding", faces=faces)]
    status = [str(word) for some in rows for word in some.status]
    queries = [name_of(some, row) for some in rows for row in range(len(some.status))]
    asks = np.flatnonzero(np.array(status) == OK)
    if not len(asks):
        raise UserError("; ".join(f"{text_of(name)}: {word}" for name, word in zip(queries[:3], status, strict=False)))
    own = _own_rows(index, queries)
    spare = max(map(len, own.values()), default=0)
    found = index.search(np.concatenate([some.vector_ND for some in rows])[asks], num + spare)
    names = index.names(found.row_QK.ravel().tolist())
    neighbours = {}
    for place, *pair in zip(asks.tolist(), found.row_QK.tolist(), found.distance_QK.tolist(), strict=True):
        itself = own[_picture(queries[place].file, queries[place].number)]
        nearest = [(names[row], distance) for row, distance in zip(*pair, strict=True) if row not in itself]
        neighbours[place] = nearest[:num]
    return [
        Answer(query, word, neighbours.get(place, []))
        for place, (query, word) in enumerate(zip(queries, status, strict=True))
    ]


def _own_rows(index: Index, queries: list[Name]) -> dict[tuple[str, int], set[int]]:
    """The rows of the index that belong to each query's picture."""
    rows: dict[tuple[str, int], set[int]] = {_picture(query.file, query.number): set() for query in queries}
    folder = index.description["folder"]
    for row, name in enumerate(index.every_name()):
        picture = _picture(str(Path(folder, name.file)), name.number)
        if picture in rows:
            rows[picture].add(row)
    return rows


def _picture(file: str, number: int) -> tuple[str, int]:
    """The identity of a picture: the file, and its row or frame."""
    return os.path.abspath(file), number  # noqa: PTH100 - a link is another picture


def format_answer(answer: Answer) -> str:
    """A table of the neighbours."""
    if answer.status != OK:
        return f"{text_of(answer.query)}: no answer: {answer.status}"
    rows: list[tuple[object, ...]] = [("rank", "distance", "picture")]
    rows += [(rank, f"{distance:.4f}", text_of(name)) for rank, (name, distance) in enumerate(answer.neighbours, 1)]
    return f"{text_of(answer.query)}\n{align_columns(rows, left=(2,))}"


def write_sheet(index: Index, encoder: Encoder, answers: list[Answer], path: Path, *, faces: Which) -> None:
    """Write a contact sheet: a row for each query and its neighbours, as preprocessed for the net.

    A missing image leaves a white cell with its status.

    Args:
        index: the index of the neighbours.
        encoder: the net.
        answers: the results; the first ``SHEET_ROWS`` with neighbours are shown.
        path: PNG to write.
        faces: which faces of the queries were used; for neighbours, the option of the index is used.
    """
    shown_rows = [answer for answer in answers if answer.neighbours][:SHEET_ROWS]
    ours, theirs = Pictures(), Pictures(index)
    rows, captions = [], []
    for answer in shown_rows:
        told = ["query", *(f"{distance:.3f}" for _, distance in answer.neighbours)]
        cells = [_cell(encoder, ours, answer.query, faces)]
        cells += [_cell(encoder, theirs, name, index.faces) for name, _ in answer.neighbours]
        captions.append([cell if isinstance(cell, str) else text for cell, text in zip(cells, told, strict=True)])
        white = np.full(encoder.face_shape, 255, np.uint8)
        rows.append(np.stack([white if isinstance(cell, str) else cell for cell in cells]))
    sheet_of_rows(np.stack(rows), captions, path)


def _cell(encoder: Encoder, pictures: Pictures, name: Name, faces: Which) -> np.ndarray | str:
    """The face that was embedded, detected again; or why it cannot be shown."""
    try:
        found = encoder.find_faces([pictures.open(name)], faces=faces)
    except UserError:
        return "gone"
    there = [face for face in found if not name.box or np.allclose(face.box_4, name.box, atol=_SAME_BOX)]
    if not there:
        return "changed"
    return there[0].status if there[0].image_SSC is None else there[0].image_SSC


def named(name: Name) -> dict[str, Any]:
    """A picture for JSON."""
    return {
        "name": shown(name.file),
        "frame": None if name.number < 0 else name.number,
        "time_s": None if math.isnan(name.time_s) else name.time_s,
        "box": list(name.box) or None,
    }


def text_of(name: Name) -> str:
    """A picture for the terminal."""
    return shown(name.file) + (f" [{name.number}]" if name.number >= 0 else "")
