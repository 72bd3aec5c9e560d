"""Injects a fault into every write: runs each command that writes with its n-th write, fsync or rename failing.

strace makes the n-th call of one kind fail in every thread of the command (``ENOSPC`` for writing and creating, ``EIO``
for flushing to disk, ``EACCES`` for renaming), for each n up to the number of calls of an undisturbed command. Of
opened files, only created ones count. After each fault:
- the final name has its old content, or the content that the undisturbed command writes;
- the command has ended by itself, and with one line instead of a traceback if it did not succeed;
- the same command then succeeds and writes the same as undisturbed.
Commands are forked from this process, which has imported them, so that thousands of runs take only minutes. Power cuts,
which lose unsynced data, are not simulated.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from fecnet.cli.main import main
from fecnet.engine.checkpointer import load_weights  # noqa: F401  (imported once, for all children)
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.rate.raters import find_rater, invite
from fecnet.rate.simulated import answer_all
from fecnet.rate.study import Study

FAULTS = (  # error and the calls that get it
    ("ENOSPC", "write,pwrite64"),
    ("ENOSPC", "openat"),
    ("ENOSPC", "mkdir"),
    ("EIO", "fsync,fdatasync"),
    ("EACCES", "rename,renameat,renameat2"),
)
_MOST_S = 60.0  # a command that takes longer counts as hanging
_MOST_SAID = 1 << 20  # maximum bytes of a command's output
_TRACEBACK = "Traceback (most recent call last)"
_EXACT = (".npy", ".npz", ".csv", ".safetensors")  # files that must be identical each time
_LEFT = (".partial", ".shards", "-wal", "-shm")  # of names: what the next command, or SQLite, takes up or sweeps


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: in the table.
        words: arguments of ``fecnet``; it is run in the folder of its material.
        output: the file or folder that it writes, relative to that folder.
    """

    name: str
    words: tuple[str, ...]
    output: str


COMMANDS = (
    Command("prepare", ("prepare", "folder", "pictures", "packed", "--size", "32", "--workers", "1"), "packed"),
    Command(
        "prepare --overwrite",
        ("prepare", "folder", "pictures", "data", "--size", "32", "--workers", "1", "--overwrite"),
        "data",
    ),
    Command("evaluate", ("evaluate", "result/net", "DEVICE", "cpu"), "result/net/evaluation"),
    Command("embed", ("embed", "result/net", "pictures", "--faces", "whole", "--output", "vectors.npy"), "vectors.npy"),
    Command(
        "embed --overwrite",
        ("embed", "result/net", "pictures", "--faces", "whole", "--output", "old.npy", "--overwrite"),
        "old.npy",
    ),
    Command("search build", ("search", "build", "result/net", "triplets", "--output", "index"), "index"),
    Command("export", ("export", "result/net", "--format", "bundle", "--output", "bundle"), "bundle"),
    Command("prune", ("prune", "result/net", "--ratio", "0.3", "--output", "pruned"), "pruned"),
    Command("report", ("report", "result/net", "--output", "report.html"), "report.html"),
    Command("rate new", ("rate", "new", "study", "pictures", "--triplets", "4", "--hold-out", "0"), "study"),
    Command("prepare study", ("prepare", "study", "old_study", "judged", "--workers", "1"), "judged"),
)


class Ended(NamedTuple):
    """How a command ended: its exit code (negative: the signal), what it said, and the calls that were traced."""

    code: int
    said: str
    calls: tuple[str, ...] = ()


def run(*, quick: bool, only: Sequence[str] = ()) -> dict[str, Any]:
    """All commands and faults; a quick run is of the first write and rename of one command."""
    if shutil.which("strace") is None:
        if quick:
            print("strace is absent: not measured")
            return {}
        raise SystemExit("strace is absent: install it")
    torch.set_num_threads(1)
    commands = [command for command in COMMANDS if not only or command.name in only]
    with tempfile.TemporaryDirectory() as temporary:
        material = Path(temporary) / "material"
        make_pictures(material / "pictures")
        if not quick:
            make_material(material)
        told = {}
        for command in commands[:1] if quick else commands:
            told[command.name] = found = measure(command, material, Path(temporary), most=1 if quick else None)
            print(json.dumps({command.name: found}), flush=True)
    return {"commands": told, "required": {"wrong": 0, "tracebacks": 0, "hangs": 0, "not_repeated": 0}}


def make_pictures(folder: Path) -> None:
    """Six pictures in the folders of two classes."""
    rng = np.random.default_rng(0)
    for name in ("joy/a", "joy/b", "joy/c", "calm/d", "calm/e", "calm/f"):
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file)


def make_material(folder: Path) -> None:
    """Add a packed set, a trained net, vectors and a study to the pictures, for commands to read and replace."""
    prepare_synthetic(
        folder / "triplets",
        size=32,
        num_train_identities=12,
        num_val_identities=8,
        num_test_identities=8,
        num_train_triplets=30,
        num_val_triplets=12,
        num_test_triplets=12,
        progress=False,
    )
    here = Path.cwd()
    os.chdir(folder)
    try:
        short = ["SOLVER.LENGTH", "2", "SOLVER.WARMUP", "0", "SOLVER.BATCH_SIZE", "6", "DATA.INPUT_SIZE", "32"]
        data = ["DATA.PATH", "triplets", "DATA.SOURCE", "", "DEVICE", "cpu", "OUTPUT_DIR", "result", "NAME", "net"]
        for words in (
            ["train", "demo", *short, *data, "MODEL.WIDTH_MULT", "0.25", "LOG.TENSORBOARD", "False"],
            ["prepare", "folder", "pictures", "data", "--size", "24", "--workers", "1"],
            ["embed", "result/net", "pictures/joy", "--faces", "whole", "--output", "old.npy"],
            ["rate", "new", "old_study", "pictures", "--triplets", "4", "--hold-out", "0"],
        ):
            if main(words):
                raise SystemExit(f"the material could not be made: fecnet {' '.join(words)}")
        with Study("old_study") as study:
            for _, token in invite(study, 3):
                rater = find_rater(study, token)
                assert rater is not None
                answer_all(study, rater, lambda faces: 0)
    finally:
        os.chdir(here)


def measure(command: Command, material: Path, temporary: Path, *, most: int | None = None) -> dict[str, Any]:
    """Faults by kind, and how often a line was not kept.

    Args:
        command: which one.
        material: folder that the command is run in, copied for each fault.
        temporary: folder for the copies.
        most: faults of the first and last kind; None = all of all kinds.
    """
    folder = temporary / "work"
    with _copied(material, folder):
        before = written(folder, command)
        plain = execute(command, folder)
        after = written(folder, command)
        if plain.code or after == before:
            raise SystemExit(f"{command.name} does not work undisturbed: {plain.said}")
    told: dict[str, Any] = {"faults": {}, "wrong": 0, "tracebacks": 0, "hangs": 0, "not_repeated": 0, "examples": []}
    for error, calls in FAULTS if most is None else (FAULTS[0], FAULTS[-1]):
        with _copied(material, folder):
            numbers = places(execute(command, folder, trace=calls).calls)[:most]
        failed = 0
        for number in tqdm(numbers, desc=f"{command.name}: {calls.partition(',')[0]}", unit="fault"):
            with _copied(material, folder):
                ended = execute(command, folder, trace=calls, inject=f":error={error}:when={number}")
                failed += any("(INJECTED)" in call for call in ended.calls)
                for name, broken in lines(command, folder, ended, before, after).items():
                    told[name] += broken
                    if broken and len(told["examples"]) < 5:
                        told["examples"].append(f"{name}: {calls} {error} {number}: {ended.said[-300:]}")
        told["faults"][f"{calls}: {error}"] = failed
    return told


def places(calls: Sequence[str]) -> list[int]:
    """The numbers, from 1, that calls which write have among those of their thread, from the lines of strace."""
    seen: Counter[str] = Counter()
    found = set()
    for line in calls:
        thread, _, call = line.partition(" ")
        if re.match(r" *\w+\(", call):  # neither the end of an interrupted call nor of a thread
            seen[thread] += 1
            if "openat" not in call or "O_CREAT" in call:
                found.add(seen[thread])
    return sorted(found)


def lines(command: Command, folder: Path, ended: Ended, before: Any, after: Any) -> dict[str, bool]:
    """Which lines were not kept after a fault."""
    now = written(folder, command)
    again = execute(command, folder)
    # what the fault came too late for is there already
    there = now == after and re.search("exists|is there already", again.said) is not None
    return {
        "wrong": now not in (before, after) or (ended.code == 0 and now != after),
        "tracebacks": _TRACEBACK in ended.said,
        "hangs": ended.code == -signal.SIGKILL,
        "not_repeated": not (again.code == 0 or there) or written(folder, command) != after,
    }


def execute(command: Command, folder: Path, *, trace: str = "", inject: str = "") -> Ended:
    """Run a command in a forked child.

    Args:
        command: which one.
        folder: with its material.
        trace: calls that are listed; empty for none.
        inject: which of them fails, and how, as strace takes it.
    """
    log = folder.with_suffix(".strace")
    with mmap.mmap(-1, _MOST_SAID) as said:  # shared with the child: what it says is no call that could fail
        child = os.fork()
        if not child:
            _be_child(command, folder, said, traced=bool(trace))
        tracer = _trace(child, trace, inject, log) if trace else None
        code = _wait(child)
        text = said[:].rstrip(b"\0").decode(errors="replace")
    if tracer is None:
        return Ended(code, text)
    tracer.wait(_MOST_S)
    return Ended(code, text, tuple(log.read_text(errors="replace").splitlines()))


def _trace(child: int, calls: str, inject: str, log: Path) -> subprocess.Popen[bytes]:
    """Attach strace to a child that waits for it."""
    os.waitpid(child, os.WUNTRACED)
    faults = ["-e", f"inject={calls}{inject}"] if inject else []
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", str(log), "-e", f"trace={calls}", *faults, "-p", str(child)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + _MOST_S
    while "TracerPid:\t0" in Path(f"/proc/{child}/status").read_text():
        if time.monotonic() > end:
            raise SystemExit("strace does not attach; may this user trace processes?")
        time.sleep(0.002)
    os.kill(child, signal.SIGCONT)
    return tracer


def _be_child(command: Command, folder: Path, said: mmap.mmap, *, traced: bool) -> None:
    code, text = 1, io.StringIO()
    try:
        os.chdir(folder)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        sys.stdout = sys.stderr = text
        if traced:
            os.kill(os.getpid(), signal.SIGSTOP)
        code = main(list(command.words))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc(file=text)
    finally:
        content = text.getvalue().encode()[-_MOST_SAID:]
        said[: len(content)] = content
        os._exit(code)


def _wait(child: int) -> int:
    """The exit code; of a child that hangs, after killing it, that of SIGKILL."""
    end = time.monotonic() + _MOST_S
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def written(folder: Path, command: Command) -> dict[str, str]:
    """What is said of each file under the final names, by its path."""
    place = folder / command.output
    beside = sorted(place.parent.glob(f"{place.stem}*")) if place.suffix else [place]
    files = [file for path in beside for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {
        str(file.relative_to(folder)): _hash(file)
        for file in files
        if file.is_file() and not any(part in str(file.relative_to(folder)) for part in _LEFT)
    }


def _hash(file: Path) -> str:
    """Of arrays and tables the hash; what tells when it was made need only be whole."""
    content = file.read_bytes()
    if file.suffix == ".json":
        json.loads(content)
    return hashlib.sha256(content).hexdigest() if file.suffix in _EXACT else f"{len(content) > 0}"


@contextmanager
def _copied(material: Path, folder: Path) -> Iterator[None]:
    """The material in a folder of its own, which is removed afterwards."""
    shutil.copytree(material, folder, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(folder)
