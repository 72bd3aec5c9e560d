"""``fecnet search build``: builds an index from sources, with the resumable pieces of ``fecnet embed``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fecnet.embed.embedding import embed_into
from fecnet.embed.embedding_files import shown
from fecnet.embed.shards import Rows
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.faces.which import Which
from fecnet.search.copies import Copies
from fecnet.search.index import Index, is_index_alone, write_index
from fecnet.search.kinds import choose_kind
from fecnet.utils import comm
from fecnet.utils.env import now
from fecnet.utils.errors import UserError
from fecnet.utils.program import command_line

logger = logging.getLogger(__name__)

MANY_COPIES = 30  # identical vectors


def build_index(
    encoder: Encoder,
    sources: Sources,
    path: Path,
    *,
    kind: str = "auto",
    faces: Which = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Embed all sources and write their index; pictures without a face are left out and counted.

    Args:
        encoder: the net.
        sources: what to read.
        path: folder to create.
        kind: ``auto``, ``flat``, ``ivf``, ``hnsw`` or ``pq``.
        faces: see ``Encoder``; faces of packed sets are used unchanged.
        overwrite: replace an existing index.
        progress: show a bar.

    Raises:
        UserError: ``path`` exists, a source or the net does not fit, nothing has a face, or the kind cannot be built.
        OSError: the disk is full or read-only.
    """
    comm.from_main(lambda: _check_target(path, sources, overwrite=overwrite))
    choose_kind(kind, 0)  # fails before any work if faiss is missing

    def write(rows: Iterator[Rows], status: Counter[str]) -> None:
        left_out = {word: number for word, number in sorted(status.items()) if word != OK}
        if not status[OK]:
            raise UserError(f"{path}: not made: {no_face(status)}")
        about = {
            "model": {"name": encoder.name, "identity": encoder.identity},
            "faces": faces,
            "folder": str(Path.cwd()),
            "sources": [shown(str(source)) for source in sources.paths],
            "packed": {str(dataset.path): dataset.faces_sha256 for dataset in sources.packed},
            "left_out": left_out,
            "command": command_line(),
            "date": now(),
        }
        copies = write_index(path, rows, status[OK], encoder.dims("embedding"), kind, about)
        warn_of_copies(Index(path, exact=True), copies)

    embed_into(encoder, sources, path, write, faces=faces, progress=progress)


def no_face(status: Counter[str]) -> str:
    """The message that no picture has a face, with the reasons."""
    reasons = ", ".join(f"{word} {number}" for word, number in sorted(status.items()))
    return f"none of {status.total()} pictures has a face: {reasons}"


def warn_of_copies(index: Index, copies: Copies) -> None:
    """Warn of a vector that occurs so often that its copies are all the neighbours of every query near it."""
    most = int(copies.count_U.argmax())
    if copies.count_U[most] >= MANY_COPIES:
        (name,) = index.names([int(copies.first_U[most])]).values()
        logger.warning(
            f"{index.path}: {copies.count_U[most]:,} identical vectors, the first of {shown(name.file)}: as of a still "
            "video, or of photos stored twice; they are the nearest of any query near them; leave copies out"
        )


def _check_target(path: Path, sources: Sources, *, overwrite: bool) -> None:
    for source in sources.paths:
        if source.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{path}: would be written over, with the source {source}; give another --output")
    if path.exists() and not is_index_alone(path):
        raise UserError(
            f"{path}: exists and is not an index, or contains other files; it is not replaced; give another --output"
        )
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; use --overwrite to replace it")
