"""``fecnet search odd``: the faces whose expressions differ most from all others of an index or a folder.

The score of a face is its mean squared distance to all others. With three faces, the one with the highest score is the
one outside the closest pair; the score generalises the odd one out to any number of faces.

Shape suffixes: N vectors, D numbers of each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from fecnet.embed.shards import embedded
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.faces.which import Which
from fecnet.search.building import no_face
from fecnet.search.index import Index, Name, name_of
from fecnet.search.querying import named, text_of
from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

_BLOCK = 65536  # vectors at a time


@dataclass(frozen=True)
class OddFace:
    """A face that differs from the others.

    Attributes:
        name: its source.
        distance: mean squared distance to all others, 0..4.
    """

    name: Name
    distance: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**named(self.name), "distance": round(self.distance, 6)}


def odd_of_index(index: Index, num: int) -> list[OddFace]:
    """The ``num`` clearest odd ones out of an index, the clearest first, equal ones in its order.

    Raises:
        UserError: fewer than three faces, or ``num`` below 1.
    """
    rows, distances = _odd_rows(index.vector_ND, num, str(index.path))
    names = index.names(rows)
    return [OddFace(names[row], distance) for row, distance in zip(rows, distances, strict=True)]


def odd_of_sources(
    encoder: Encoder, sources: Sources, num: int, *, faces: Which = "auto"
) -> tuple[list[OddFace], Counter[str]]:
    """The ``num`` clearest odd ones out of photos and videos, and how many rows there are by status.

    Args:
        encoder: the net.
        sources: the pictures.
        num: how many.
        faces: which faces of each picture, see ``Encoder``.

    Raises:
        UserError: a source that does not fit; fewer than three faces; ``num`` below 1.
    """
    encoder.check_output("embedding")
    sources.check()
    names, parts, status = list[Name](), list[np.ndarray](), Counter[str]()
    for piece in sources.pieces():
        for some in embedded(encoder, piece.frames(0), "embedding", faces=faces):
            status.update(some.status.tolist())
            there = np.flatnonzero(some.status == OK)
            parts.append(some.vector_ND[there])
            names += [name_of(some, row) for row in there.tolist()]
    if not names:
        raise UserError(no_face(status))
    rows, distances = _odd_rows(np.concatenate(parts), num, str(sources.paths[0]))
    return [OddFace(names[row], distance) for row, distance in zip(rows, distances, strict=True)], status


def format_odd(found: list[OddFace]) -> str:
    """A table."""
    rows: list[tuple[object, ...]] = [("rank", "mean distance", "picture")]
    rows += [(rank, f"{face.distance:.4f}", text_of(face.name)) for rank, face in enumerate(found, 1)]
    return align_columns(rows, left=(2,))


def _odd_rows(vector_ND: np.ndarray, num: int, what: str) -> tuple[list[int], list[float]]:
    """Rows of the highest mean squared distance to all others, and that distance.

    Σⱼ |xᵢ − xⱼ|² = Σⱼ |xᵢ − m|² + N·(mean |xⱼ − m|²) around the mean m: linear in N, and exact in float64.
    """
    total = len(vector_ND)
    if num < 1:
        raise UserError(f"k: {num}; allowed: 1 or more")
    if total < 3:
        raise UserError(f"{what}: {total} faces; an odd one out needs three or more")
    blocks = [slice(first, first + _BLOCK) for first in range(0, total, _BLOCK)]
    mean_D = sum(vector_ND[block].sum(axis=0, dtype=np.float64) for block in blocks) / total
    from_mean_N = np.concatenate([np.square(vector_ND[block] - mean_D).sum(axis=1) for block in blocks])
    distance_N = total / (total - 1) * (from_mean_N + from_mean_N.mean())
    rows = np.argsort(-distance_N, kind="stable")[:num]
    return rows.tolist(), distance_N[rows].tolist()
