"""``fecnet search add`` and ``remove``: change an index; the result equals one built from all pictures at once.

The index is rewritten atomically from its own vectors and those of the new pictures; it keeps its kind.

Shape suffixes: N vectors of the index, M new ones, D numbers of each.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.embed.embedding import embed_into, holding
from fecnet.embed.embedding_files import shown
from fecnet.embed.shards import Rows
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.faces.picture_lists import LIST_SUFFIXES, read_paths, system_path
from fecnet.search.building import no_face, warn_of_copies
from fecnet.search.index import Index, Name, box_of, write_index
from fecnet.utils import comm
from fecnet.utils.env import now
from fecnet.utils.errors import UserError
from fecnet.utils.program import command_line

logger = logging.getLogger(__name__)

_CHUNK = 2048  # vectors written at a time
_NAMED = 3  # names shown of several


def add_to_index(
    encoder: Encoder,
    sources: Sources,
    path: Path,
    *,
    replace: bool = False,
    progress: bool = True,
) -> None:
    """Add all sources to an index, after its pictures; those without a face are left out and counted.

    The option ``faces`` is the one that the index was built with.

    Args:
        encoder: the net that it was built with.
        sources: what to add.
        path: the index.
        replace: replace pictures that are in the index already; remove those that have no face any more.
        progress: show a bar.

    Raises:
        UserError: no index, built with another net or other preprocessing; a picture is in it already; a source or its
            faces do not fit; none of them has a face.
        OSError: the disk is full or read-only.
    """
    comm.from_main(lambda: _check(encoder, sources, path))

    def write(rows: Iterator[Rows], status: Counter[str]) -> None:
        index = Index(path, exact=True)
        index.check_model(encoder)
        names, vectors, faceless = _named_vectors(index, rows)
        known = list(index.every_name())
        file_N = [_absolute(index, name.file) for name in known]
        place_of: dict[str, int] = {}
        for place, file in enumerate(file_N):
            place_of.setdefault(file, place)
        file_of = {name: _absolute(index, name) for name in [*(name.file for name in names), *faceless]}
        twice = [name for name, file in file_of.items() if file in place_of]
        if twice and not replace:
            raise UserError(f"{path}: already contains {_some(twice)}; to replace them: --replace")
        if not names and not twice:
            raise UserError(f"{path}: not changed: {no_face(status)}")
        replaced = {file_of[name] for name in twice}
        kept = [place for place, file in enumerate(file_N) if file not in replaced]
        _check_some_left(index, len(kept) + len(names))
        order_M = [place_of.get(file_of[name.file], len(known)) for name in names]
        left_out = Counter(index.description.get("left_out", {}))
        left_out.update({word: number for word, number in status.items() if word != OK})
        about = {
            "packed": index.description["packed"] | {_name(index, str(d.path)): d.faces_sha256 for d in sources.packed},
            "sources": [*index.description.get("sources", []), *(shown(str(source)) for source in sources.paths)],
            "left_out": dict(sorted(left_out.items())),
        }
        _rewrite(index, kept, names, vectors, order_M, about)
        gone = len(known) - len(kept)
        logger.info(
            f"{path}: {len(names):,} vectors added" + (f", {gone:,} old of the same names removed" if gone else "")
        )

    embed_into(encoder, sources, path, write, faces=Index(path, exact=True).faces, progress=progress)


def remove_from_index(path: Path, names: Sequence[str]) -> None:
    """Remove pictures from an index.

    Args:
        path: the index.
        names: photos, packed sets and videos, as they were given when it was built or relative to the current folder;
            folders; and lists of these. A set or video is removed with all its rows or frames.

    Raises:
        UserError: no index, a name that is not in it, or nothing would be left.
        OSError: the disk is full or read-only.
    """
    with holding(path):
        index = Index(path, exact=True)
        known = list(index.every_name())
        file_N = [_absolute(index, name.file) for name in known]
        gone = _matching(index, list(_listed(names)), file_N)
        kept = [place for place, file in enumerate(file_N) if file not in gone]
        _check_some_left(index, len(kept))
        still = {known[place].file for place in kept}
        packed = {name: digest for name, digest in index.description["packed"].items() if name in still}
        _rewrite(index, kept, [], np.empty((0, index.vector_ND.shape[1]), np.float32), [], {"packed": packed})
        logger.info(f"{path}: {len(known) - len(kept):,} vectors removed, {len(kept):,} left")


def _check_some_left(index: Index, num: int) -> None:
    if not num:
        raise UserError(f"{index.path}: nothing would be left of its {len(index)} vectors; delete the folder instead")


def _check(encoder: Encoder, sources: Sources, path: Path) -> None:
    index = Index(path, exact=True)
    index.check_model(encoder)
    for source in sources.paths:
        if source.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{source}: is inside the index {path}, which is rewritten; give a source outside of it")


def _named_vectors(index: Index, rows: Iterator[Rows]) -> tuple[list[Name], np.ndarray, list[str]]:
    """Source and vector of each new picture with a face, and the names of those without one."""
    names, faceless, parts = [], [], [np.empty((0, index.vector_ND.shape[1]), np.float32)]
    for some in rows:
        kept = np.flatnonzero(some.status == OK)
        faceless += [_name(index, str(file)) for file in some.name[some.status != OK]]
        parts.append(some.vector_ND[kept])
        columns = (some.name[kept].tolist(), some.number[kept].tolist(), some.time_s[kept].tolist(), some.box_N4[kept])
        names += [
            Name(_name(index, file), number, time_s, box_of(box_4))
            for file, number, time_s, box_4 in zip(*columns, strict=True)
        ]
    return names, np.concatenate(parts), faceless


def _rewrite(
    index: Index, kept: list[int], names: list[Name], vector_MD: np.ndarray, order_M: list[int], about: dict[str, Any]
) -> None:
    """Write the kept pictures and the new ones; ``order_M`` is the row of the index where each new one is inserted."""
    known = list(index.every_name())
    order = np.argsort([*kept, *order_M], kind="stable")

    def rows() -> Iterator[Rows]:
        for first in range(0, len(order), _CHUNK):
            part = order[first : first + _CHUNK]
            old = part < len(kept)
            vector_ND = np.empty((len(part), index.vector_ND.shape[1]), np.float32)
            vector_ND[old] = index.vector_ND[np.array(kept, np.int64)[part[old]]]
            vector_ND[~old] = vector_MD[part[~old] - len(kept)]
            chosen = [known[kept[place]] if place < len(kept) else names[place - len(kept)] for place in part.tolist()]
            files = np.array([name.file for name in chosen])
            numbers, times = (np.array([name[column] for name in chosen]) for column in (1, 2))
            box_N4 = np.array([name.box or (np.nan,) * 4 for name in chosen], np.float32)
            status, score_N, row_N = np.full(len(part), OK), np.full(len(part), np.nan), np.arange(len(part))
            yield Rows(vector_ND, status, files, files, numbers, times, box_N4, score_N, row_N)

    described = {
        key: value for key, value in index.description.items() if key not in ("format", "num", "dims", "files")
    }
    described |= about | {"command": command_line(), "date": now()}
    kind = str(described.pop("kind"))
    copies = write_index(index.path, rows(), len(order), index.vector_ND.shape[1], kind, described)
    warn_of_copies(Index(index.path, exact=True), copies)


def _absolute(index: Index, name: str) -> str:
    return os.path.normpath(Path(index.description["folder"], name))


def _name(index: Index, name: str) -> str:
    """The name of a path in the index: relative to the folder where it was built if inside that, else absolute."""
    folder = Path(index.description["folder"])
    if Path(name).is_absolute() or folder == Path.cwd():
        return name
    full = Path(os.path.normpath(Path.cwd() / name))
    return str(full.relative_to(folder)) if full.is_relative_to(folder) else str(full)


def _listed(names: Sequence[str]) -> Iterator[str]:
    """The names themselves, and those in lists."""
    for name in names:
        path = Path(name)
        if not name:
            raise UserError("remove: a name is empty, which would be the current folder; nothing was removed")
        if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
            yield from (str(path.parent / system_path(path.parent, listed)) for listed in read_paths(path))
        else:
            yield name


def _matching(index: Index, names: Sequence[str], file_N: Sequence[str]) -> set[str]:
    """The files of the index that the names refer to.

    Raises:
        UserError: a name that is not in the index.
    """
    by_name: dict[str, set[str]] = {}
    for file in set(file_N):
        for above in (file, *map(str, Path(file).parents)):
            by_name.setdefault(above, set()).add(file)
    found: set[str] = set()
    unknown = []
    for name in names:
        meant = by_name.get(_absolute(index, name)) or by_name.get(os.path.normpath(Path.cwd() / name))
        if meant is None:
            unknown.append(name)
        else:
            found |= meant
    if unknown:
        raise UserError(f"{index.path}: does not contain {_some(unknown)}; nothing was removed")
    return found


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - _NAMED:,} more" if len(distinct) > _NAMED else ""
    return ", ".join(shown(name) for name in distinct[:_NAMED]) + more
