"""``fecnet embed``: sources to vectors on disk, by one process or several of any number of machines.

Processes share nothing but the disk: each does the pieces that fall to it, whenever it comes to them. So none waits for
another in an exchange, which for hours of photos would run out of time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from fecnet.deploy.embedding_files import output_path, write_rows, written
from fecnet.deploy.encoder import Encoder
from fecnet.deploy.pictures import OK
from fecnet.deploy.shards import Rows, Shards
from fecnet.deploy.sources import Sources
from fecnet.utils import comm
from fecnet.utils.files import replace_text
from fecnet.utils.logging import say

_SEEN_S = 30.0  # for what one machine wrote to be seen by another
_LOOK_S = 0.5


def embed_sources(
    encoder: Encoder,
    sources: Sources,
    output: str | Path = "",
    *,
    kind: str = "npy",
    name: str = "embedding",
    align: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write what the net says of all sources.

    What is done so far lies in ``<output>.shards``: after a kill the same command goes on. Under torchrun the pieces
    are dealt to the processes; a vector does not depend on who computes it.

    Args:
        encoder: the net.
        sources: what to read.
        output: file or folder to make; empty for ``embeddings`` in the current folder.
        kind: ``npy``, ``csv`` or ``mirrored``.
        name: output of the net, ``embedding`` or ``feature``.
        align: find faces and align them as in training.
        overwrite: replace what stands at ``output``.
        progress: show a bar.

    Returns:
        What was written.

    Raises:
        ValueError: the output exists, a source or the net does not fit, a source is empty or changed meanwhile, or
            processes do not share a disk.
        OSError: the disk is full or read-only.
    """
    path = output_path(output, kind)
    comm.from_main(lambda: _check_target(path, kind, sources, overwrite=overwrite))
    encoder.check_output(name)
    _check_packed(encoder, sources, align=align)
    if align:
        encoder.check_align()
    comm.from_main(lambda: _check_first(sources))
    work = path.with_name(f"{path.name}.shards")
    together = _Together(work)
    shards = Shards(work / _folder_name(encoder, name, align))
    stems = _complete(encoder, sources, shards, name, align=align, progress=progress)
    if not together.finish(stems):
        return path
    status = _write(path, kind, shards, stems, encoder, name)
    for stem in stems:
        if shards.note(stem):
            say(shards.note(stem))
    _clear(work)
    say(_summary(path, status, sources, encoder.dims(name)))
    return path


def _check_target(path: Path, kind: str, sources: Sources, *, overwrite: bool) -> None:
    for file in written(path, kind):
        if file.resolve() in {source.resolve() for source in sources.paths}:
            raise ValueError(f"{file}: would be written over and is a source too; give another --output")
        if file.exists() and not overwrite:
            raise ValueError(f"{file}: exists already; use --overwrite to replace it")
        if file.exists() and file.is_dir() != (kind == "mirrored"):
            raise ValueError(f"{file}: is {'a folder' if file.is_dir() else 'a file'}; format {kind} cannot replace it")
        if kind == "mirrored" and file.exists() and not (file / "status.csv").is_file():
            raise ValueError(f"{file}: a folder that this command did not make; it is not replaced")


def _check_first(sources: Sources) -> None:
    """Raise ValueError where the first source has no picture: said before any work is done."""
    next(sources.pieces())


def _check_packed(encoder: Encoder, sources: Sources, *, align: bool) -> None:
    for dataset in sources.packed:
        if align:
            raise ValueError(f"{dataset.path}: --align: faces of a packed set are cut already; leave it out")
        encoder.check_faces(dataset)


def _clear(work: Path) -> None:
    """Remove what this command put there, and the folder where that is all."""
    for shards in work.glob("shards-*"):
        shutil.rmtree(shards)
    for file in [*work.glob("done-*"), *work.glob("launch-*")]:
        file.unlink()
    if not any(work.iterdir()):
        work.rmdir()


def _folder_name(encoder: Encoder, name: str, align: bool) -> str:
    """Pieces that another net made, or in another way, are never taken for these."""
    how = [encoder.identity, name, align, encoder.batch_size]
    return f"shards-{hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]}"


def _complete(
    encoder: Encoder, sources: Sources, shards: Shards, name: str, *, align: bool, progress: bool
) -> list[str]:
    """Do this process's pieces; the stems of all, in order."""
    stems: list[str] = []
    with tqdm(desc="pictures", unit="picture", disable=not progress or not comm.is_main()) as bar:
        for number, piece in enumerate(sources.pieces()):
            stems.append(shards.stem(number, piece))
            if number % comm.world_size() == comm.rank():
                for done in shards.complete(stems[-1], piece, encoder, name, align=align):
                    bar.update(done)
    return stems


class _Together:
    """The processes of a launch, which meet on the disk alone.

    Args:
        work: folder they share; made where absent.

    Raises:
        ValueError: this process does not see what the first one wrote there.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        launch = comm.broadcast_object(secrets.token_hex(8))
        self._done = [work / f"done-{rank}-{launch}" for rank in range(comm.world_size())]
        token = work / f"launch-{launch}"
        comm.from_main(lambda: self._begin(token))
        _wait_for([token], _SEEN_S, f"{work}: not seen by process {comm.rank()}: all machines must share the output")

    def _begin(self, token: Path) -> None:
        self._work.mkdir(parents=True, exist_ok=True)
        for left in [*self._work.glob("done-*"), *self._work.glob("launch-*")]:
            left.unlink()
        replace_text(token, "")

    def finish(self, stems: list[str]) -> bool:
        """Say that this process has done its pieces; the first one waits for the others and then goes on.

        Raises:
            ValueError: the processes saw different pictures.
        """
        digest = hashlib.sha256(json.dumps(stems).encode()).hexdigest()
        if not comm.is_main():
            replace_text(self._done[comm.rank()], digest)
            return False
        _wait_for(self._done[1:], None, "")
        for file in self._done[1:]:
            if file.read_text() != digest:
                raise ValueError(f"{self._work}: pictures came or went meanwhile; run the same command again")
        return True


def _wait_for(files: list[Path], limit_s: float | None, problem: str) -> None:
    """Until all are there. The launcher ends this process where another one of them fails."""
    begun = time.monotonic()
    while not all(file.exists() for file in files):
        if limit_s is not None and time.monotonic() - begun > limit_s:
            raise ValueError(problem)
        time.sleep(_LOOK_S)


def _write(path: Path, kind: str, shards: Shards, stems: list[str], encoder: Encoder, name: str) -> Counter[str]:
    """Write the output; how many pictures have each status."""
    status = Counter(word for stem in stems for rows in shards.read(stem) for word in rows.status.tolist())

    def every() -> Iterator[Rows]:
        for stem in stems:
            yield from shards.read(stem)

    write_rows(path, kind, every(), status.total(), encoder.dims(name))
    return status


def _summary(path: Path, status: Counter[str], sources: Sources, dims: int) -> str:
    lacking = ", ".join(f"{word} {number}" for word, number in sorted(status.items()) if word != OK)
    text = f"{path}: {status[OK]:,} vectors of {dims}"
    text += f"; {status.total() - status[OK]:,} pictures without one: {lacking}" if lacking else ""
    return text + (f"; passed over: {sources.passed_over:,} other files" if sources.passed_over else "")
