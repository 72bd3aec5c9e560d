"""``fecnet embed``: embeds sources to files, with one process or several on any number of machines.

Processes communicate only through the disk: each completes its own pieces independently. A collective operation would
time out over hours of photos.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from fecnet.embed.embedding_files import made_here, output_path, write_rows, written
from fecnet.embed.shards import Rows, Shards
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.faces.picture_files import decoder_hint
from fecnet.faces.which import Which, check_which
from fecnet.utils import comm
from fecnet.utils.errors import UserError
from fecnet.utils.files import locked, replace_text
from fecnet.utils.together import is_unsettled, settle

logger = logging.getLogger(__name__)

_VISIBLE_S = 30.0  # time for a file to become visible on other machines
_LOOK_S = 0.5
_LOCK = "lock"

Write = Callable[[Iterator[Rows], "Counter[str]"], None]


def embed_sources(
    encoder: Encoder,
    sources: Sources,
    output: str | Path = "",
    *,
    kind: str = "npy",
    name: str = "embedding",
    faces: Which = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write the outputs of the net for all sources.

    Finished pieces are kept in ``<output>.shards``: the same command resumes an interrupted one. Under torchrun the
    pieces are distributed over the processes; a vector does not depend on the process that computes it.

    Args:
        encoder: the net.
        sources: what to read.
        output: file or folder to make; empty for ``embeddings`` in the current folder.
        kind: ``npy``, ``csv`` or ``mirrored``.
        name: output of the net, ``embedding`` or ``feature``.
        faces: see ``Encoder``; faces of packed sets are used unchanged.
        overwrite: replace an existing ``output``.
        progress: show a bar.

    Returns:
        The file or folder that was written.

    Raises:
        UserError: the output exists, another call is writing it, a source or the net does not fit, a source is empty
            or changed meanwhile, or processes do not share a disk.
        OSError: the disk is full or read-only.
    """
    path = output_path(output, kind)
    comm.from_main(lambda: _check_target(path, kind, sources, overwrite=overwrite))

    def write(rows: Iterator[Rows], status: Counter[str]) -> None:
        write_rows(path, kind, rows, status.total(), encoder.dims(name))

    embed_into(encoder, sources, path, write, name=name, faces=faces, progress=progress)
    return path


def embed_into(
    encoder: Encoder,
    sources: Sources,
    path: Path,
    write: Write,
    *,
    name: str = "embedding",
    faces: Which = "auto",
    progress: bool = True,
) -> None:
    """Complete the pieces of all sources, then let one process write the result.

    Args:
        encoder: the net.
        sources: what to read.
        path: the file or folder that ``write`` writes; the pieces are in ``<path>.shards`` until then.
        write: called with all rows in order, and the number of images by status.
        name: see ``embed_sources``.
        faces: see ``embed_sources``.
        progress: see ``embed_sources``.

    Raises:
        UserError: see ``embed_sources``.
        OSError: the disk is full or read-only.
    """
    encoder.check_output(name)
    check_which(faces)
    _check_packed(encoder, sources, faces)
    comm.from_main(sources.check)
    if faces != "whole" and len(sources.packed) < len(sources.paths):
        encoder.check_detector()
    work = path.with_name(f"{path.name}.shards")
    with contextlib.closing(_Launch(work)) as launch:
        shards = Shards(work / _folder_name(encoder, name, faces))
        stems = _complete(encoder, sources, shards, name, faces=faces, progress=progress)
        if not launch.finish(stems):
            return
        status = Counter(word for rows in _rows(shards, stems) for word in rows.status.tolist())
        write(_rows(shards, stems), status)
        for stem in stems:
            if shards.note(stem):
                logger.info(shards.note(stem))
        _clear(work)
        logger.info(_summary(path, status, sources, encoder.dims(name)))


def _check_target(path: Path, kind: str, sources: Sources, *, overwrite: bool) -> None:
    if is_unsettled(written(path, kind)):
        with holding(path):  # a command at work there must not be disturbed
            settle(written(path, kind))
    for file in written(path, kind):
        for source in sources.paths:
            if source.resolve().is_relative_to(file.resolve()):
                raise UserError(f"{file}: would be written over, with the source {source}; give another --output")
        if file.exists() and not overwrite:
            raise UserError(f"{file}: exists already; use --overwrite to replace it")
        if file.exists() and file.is_dir() != (kind == "mirrored"):
            raise UserError(f"{file}: is {'a folder' if file.is_dir() else 'a file'}; format {kind} cannot replace it")
        if kind == "mirrored" and file.exists() and not made_here(file):
            raise UserError(f"{file}: a folder with files that this command did not make; it is not replaced")


def _check_packed(encoder: Encoder, sources: Sources, faces: Which) -> None:
    for dataset in sources.packed:
        if faces not in ("auto", "whole"):
            raise UserError(
                f"{dataset.path}: --faces {faces}: faces of a packed set are cut already; allowed: auto, whole"
            )
        encoder.check_faces(dataset)


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Lock ``path`` against other commands; finished pieces of earlier commands are kept.

    Raises:
        UserError: another command is writing there.
    """
    work = path.with_name(f"{path.name}.shards")
    work.mkdir(exist_ok=True)
    with locked(work / _LOCK, f"{work}: another command is at work here; wait for it to end"):
        try:
            yield
        finally:
            (work / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                work.rmdir()


def _clear(work: Path) -> None:
    """Remove the files of this command."""
    for shards in work.glob("shards-*"):
        shutil.rmtree(shards)
    for file in [*_of_launches(work), work / _LOCK]:
        file.unlink(missing_ok=True)


def _of_launches(work: Path) -> list[Path]:
    """Token files of launches, including partial ones of killed launches."""
    return [file for name in ("done-*", "launch-*", ".*.partial") for file in work.glob(name)]


def _folder_name(encoder: Encoder, name: str, faces: Which) -> str:
    """Folder of the pieces, unique to the net and its options."""
    how = [encoder.identity, name, faces, encoder.batch_size, encoder.device.type, encoder.detector_device]
    how += ["turns"] if encoder.tries_turns else []
    return f"shards-{hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]}"


def _complete(
    encoder: Encoder, sources: Sources, shards: Shards, name: str, *, faces: Which, progress: bool
) -> dict[str, str]:
    """Complete this process's pieces; returns the stems of all in order, each with its prefix."""
    stems: dict[str, str] = {}
    with tqdm(desc="pictures", unit="picture", disable=not progress or not comm.is_main()) as bar:
        for number, piece in enumerate(sources.pieces()):
            stem = shards.stem(number, piece)
            stems[stem] = piece.prefix
            if number % comm.world_size() == comm.rank():
                for done in shards.complete(stem, piece, encoder, name, faces=faces):
                    bar.update(done)
    return stems


class _Launch:
    """The processes of a launch, which synchronise through the disk.

    Args:
        work: folder that they share; created where absent.

    Raises:
        UserError: the file that rank 0 wrote there is not visible to this process.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        launch = comm.broadcast_object(secrets.token_hex(8))
        self._done = [work / f"done-{rank}-{launch}" for rank in range(comm.world_size())]
        self._token = work / f"launch-{launch}"
        self._held = contextlib.ExitStack()
        comm.from_main(self._begin)
        begun = time.monotonic()
        while not self._token.exists():
            if time.monotonic() - begun > _VISIBLE_S:
                raise UserError(f"{work}: not seen by process {comm.rank()}: all machines must share the output")
            time.sleep(_LOOK_S)

    def _begin(self) -> None:
        self._work.mkdir(parents=True, exist_ok=True)
        problem = f"{self._work}: another command is at work here; wait for it to end"
        self._held.enter_context(locked(self._work / _LOCK, problem))
        for left in _of_launches(self._work):
            left.unlink(missing_ok=True)
        replace_text(self._token, "")

    def close(self) -> None:
        """Release the folder for another launch; remove it if it is empty."""
        self._held.close()
        if comm.is_main():
            with contextlib.suppress(OSError):
                self._work.rmdir()

    def finish(self, stems: Iterable[str]) -> bool:
        """Mark this process as finished; rank 0 waits for the others.

        Raises:
            UserError: the processes found different images, or another launch has taken over the folder.
        """
        digest = hashlib.sha256(json.dumps(list(stems)).encode()).hexdigest()
        if not comm.is_main():
            replace_text(self._done[comm.rank()], digest)
            return False
        while not self._are_done():  # if another process fails, the launcher terminates this one
            time.sleep(_LOOK_S)
        for file in self._done[1:]:
            if file.read_text() != digest:
                raise UserError(f"{self._work}: pictures came or went meanwhile; run the same command again")
        return True

    def _are_done(self) -> bool:
        """Whether all other processes have finished."""
        if not self._token.exists():  # not every shared disk supports locks
            raise UserError(f"{self._work}: another command has begun to work here; this one gives way")
        return all(file.exists() for file in self._done[1:])


def _rows(shards: Shards, stems: Mapping[str, str]) -> Iterator[Rows]:
    for stem, prefix in stems.items():
        yield from shards.read(stem, prefix)


def _summary(path: Path, status: Counter[str], sources: Sources, dims: int) -> str:
    lacking = ", ".join(f"{word} {number}" for word, number in sorted(status.items()) if word != OK)
    text = f"{path}: {status[OK]:,} vectors of {dims}"
    text += f"; {status.total() - status[OK]:,} pictures without one: {lacking}" if lacking else ""
    return f"{text}{decoder_hint(status)}" + (f"; {sources.passed_over_text}" if sources.passed_over_text else "")
