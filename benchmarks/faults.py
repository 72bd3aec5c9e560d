"""Injects a fault into every write: runs each command that writes with its n-th write, fsync or rename failing.

strace makes the n-th call of one kind fail in every thread and process of the command (``ENOSPC`` where something is
written or made, ``EIO`` where it is brought to the disk, ``EACCES`` where it is renamed), for each n that an
undisturbed command comes to; of files that are opened, those that are made. After each fault:

- what stood under the final name is what stood there before, or what the undisturbed command writes;
- the command has ended by itself, with one line in place of a traceback where it did not succeed;
- the same command then succeeds and writes what it writes undisturbed.

What a cut of power may lose is read from the calls of the undisturbed command: ``benchmarks/power_cuts.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks.faults_commands import COMMANDS, Command, make_material, make_pictures
from benchmarks.power_cuts import CALLS, Disk
from benchmarks.traced import Ended, execute
from tests.prepare.photo_server import PhotoServer

FAULTS = (  # error and the calls that get it
    ("ENOSPC", "write,pwrite64"),
    ("ENOSPC", "openat"),
    ("ENOSPC", "mkdir"),
    ("EIO", "fsync,fdatasync"),
    ("EACCES", "rename,renameat,renameat2"),
)
REQUIRED = dict.fromkeys(("wrong", "tracebacks", "hangs", "not_repeated", "lost"), 0)
_TRACEBACK = "Traceback (most recent call last)"
_EXACT = (".npy", ".npz", ".csv", ".safetensors", ".jsonl")  # files that a command writes alike each time
_DONE = re.compile("exists|is there already|holds already|holds no ")  # what a command says that was done before
_LEFT = (".partial", ".replaced", ".shards", "-wal", "-shm")  # of names: what the next command, or SQLite, takes up


def run(*, quick: bool, only: Sequence[str] = ()) -> dict[str, Any]:
    """All commands and faults; a quick run is of the first write and rename of one command."""
    if shutil.which("strace") is None:
        if quick:
            print("strace is absent: not measured")
            return {}
        raise SystemExit("strace is absent: install it")
    torch.set_num_threads(1)
    commands = [command for command in COMMANDS if not only or command.name in only]
    with tempfile.TemporaryDirectory() as temporary, PhotoServer() as server:
        material = Path(temporary) / "material"
        make_pictures(material / "pictures")
        if not quick:
            make_material(material, lambda number: server.url("good", number))
        told, unusable = {}, []
        for command in commands[:1] if quick else commands:
            try:
                told[command.name] = found = measure(command, material, Path(temporary), most=1 if quick else None)
                print(json.dumps({command.name: found}), flush=True)
            except RuntimeError as error:  # the others are measured all the same
                unusable.append(str(error))
                print(error, flush=True)
    if unusable:
        raise SystemExit("\n".join(unusable))
    return {"commands": told, "required": REQUIRED}


def measure(command: Command, material: Path, temporary: Path, *, most: int | None = None) -> dict[str, Any]:
    """Faults by kind, and how often a line was not kept.

    Args:
        command: which one.
        material: folder that the command is run in, copied for each fault.
        temporary: folder for the copies.
        most: faults of the first and last kind; None = all of all kinds.

    Raises:
        RuntimeError: the command does not work undisturbed.
    """
    folder = temporary / "work"
    with _copied(material, folder):
        before = written(folder, command)
        disk = Disk(folder, [str(path.relative_to(folder)) for path in folder.rglob("*")])
        plain = execute(command.words, folder, trace=CALLS, paths=True)
        after = written(folder, command)
        disk.follow(plain.calls)
        if plain.code or after.output == before.output:
            raise RuntimeError(f"{command.name} does not work undisturbed: {plain.said}")
    lost = disk.losses(list(after.output))
    told: dict[str, Any] = {"faults": {}, **dict.fromkeys(REQUIRED, 0), "lost": len(lost), "examples": lost[:5]}
    for error, calls in FAULTS if most is None else (FAULTS[0], FAULTS[-1]):
        with _copied(material, folder):
            numbers = places(execute(command.words, folder, trace=calls).calls)[:most]
        failed = 0
        for number in tqdm(numbers, desc=f"{command.name}: {calls.partition(',')[0]}", unit="fault"):
            with _copied(material, folder):
                ended = execute(command.words, folder, trace=calls, inject=f":error={error}:when={number}")
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


def lines(command: Command, folder: Path, ended: Ended, before: State, after: State) -> dict[str, bool]:
    """Which lines were not kept after a fault."""
    now = written(folder, command)
    again = execute(command.words, folder)
    # what the fault came too late for is there already
    there = now.output == after.output and _DONE.search(again.said) is not None
    repeated = written(folder, command)
    as_undisturbed = repeated == after or (command.adds and now.output == after.output)
    return {
        "wrong": now.output not in (before.output, after.output) or (ended.code == 0 and now != after),
        "tracebacks": _TRACEBACK in ended.said,
        "hangs": ended.code == -signal.SIGKILL,
        "not_repeated": not ((again.code == 0 or there) and as_undisturbed),
    }


class State(NamedTuple):
    """What is said of each file that a command writes, by its path; see ``Command``."""

    output: dict[str, str]
    beside: dict[str, str]


def written(folder: Path, command: Command) -> State:
    """What stands under the final names."""
    return State(_described(folder, command.output), _described(folder, command.beside))


def _described(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    places = [_target(path) for pattern in patterns for path in sorted(folder.glob(pattern))]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    names = {str(file.relative_to(folder)): file for file in files if file.is_file()}
    return {name: _told(file) for name, file in names.items() if not any(part in name for part in _LEFT)}


def _target(path: Path) -> Path:
    """Of a checkpoint's pointer the folder that it names."""
    return path.with_name(path.read_text().strip()) if path.name == "last" else path


def _told(file: Path) -> str:
    """Of arrays and tables the hash; what tells when it was made need only be whole."""
    if file.suffix == ".db":
        return _rows(file)
    content = file.read_bytes()
    if file.suffix == ".json":
        json.loads(content)
    return hashlib.sha256(content).hexdigest() if file.suffix in _EXACT else f"{len(content) > 0}"


def _rows(file: Path) -> str:
    """How many rows the tables of a database have."""
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        counts = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in sorted(tables)}
    return json.dumps(counts)


@contextmanager
def _copied(material: Path, folder: Path) -> Iterator[None]:
    """The material in a folder of its own, which is removed afterwards."""
    shutil.copytree(material, folder, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(folder)
