"""Mutated valid inputs of every kind: each is accepted with all its rows accounted for, or refused in one short line.

Hypothesis draws a string of bytes, which says how a valid file, folder or request is changed (``fuzz_mutations``); a
reader of fecnet opens it (``fuzz_targets``). A find is anything but:

- accepted: what was read is finite and in range, and the rows read are those kept and those dropped by reason;
- refused: an error that a user can cause, in one line of at most 1,000 printable characters that names the file.

Each reader runs in a process of its own: a crash of a library is a find too, as is an input that takes more than
10 seconds of processor time, or a process that grows by more than a gigabyte. Hypothesis shrinks a find before it is
kept under ``result/fuzz/`` with the command that repeats it.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.fuzz_mutations import Choices, Files, mutate
from benchmarks.fuzz_target import Target, told_wrong
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

_INPUTS = 100_000  # of all targets together
_QUICK = 8  # of each
_CHUNK = 500  # inputs of one run of Hypothesis: its memory of them grows
_FEWEST, _MOST = 8, 48  # bytes of choices
_HANG_S, _STUCK_S = 10.0, 90.0  # of the processor; of the clock
_GROWTH_MB, _ROOM_MB = 1024, 4096  # of a process over its start; more than this it does not get
_MEMORY = Path("/dev/shm")  # files there take no disk
FOUND = Path("result/fuzz")


class Find(AssertionError):
    """An input with another outcome than the two that are right."""


class _Hang(BaseException):
    """An input has taken too long; no reader catches it."""


def run(*, quick: bool, only: Sequence[str] = (), seed: int = 0, choices: str = "") -> dict[str, Any]:
    """Inputs of all targets, or the one input of a target that ``choices`` say."""
    if importlib.util.find_spec("hypothesis") is None:
        if quick:
            print("hypothesis is absent: not measured")
            return {}
        raise SystemExit("hypothesis is absent: pip install 'fecnet[dev]'")
    from benchmarks.fuzz_targets import TARGETS

    targets = [target for target in TARGETS if not only or target.name in only]
    if unknown := {*only} - {target.name for target in targets}:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(t.name for t in TARGETS)}")
    if choices:
        with _work() as folder:
            print(Session(targets[0], folder).outcome(bytes.fromhex(choices)))
        return {}
    weights = sum(target.weight for target in targets)
    found = {}
    for target in targets:
        share = _INPUTS * target.weight // weights if not only else _INPUTS // 20
        found[target.name] = told = fuzz(target, _QUICK if quick else share, seed)
        print(json.dumps({target.name: told}), flush=True)
    total = {name: sum(told[name] for told in found.values()) for name in ("inputs", "accepted", "refused", "finds")}
    return {"targets": found, "all": total, "required": {"inputs": _INPUTS, "finds": 0}}


def fuzz(target: Target, inputs: int, seed: int) -> dict[str, Any]:
    """A target's inputs, in child processes: another one where a library ends one."""
    told = {"inputs": 0, "accepted": 0, "refused": 0, "finds": 0, "grown_mb": 0.0, "slowest_s": 0.0}
    with _work() as folder, tqdm(total=inputs, desc=target.name, unit="input", disable=None) as bar:
        while told["inputs"] < inputs:
            log = folder.with_suffix(".jsonl")
            child = os.fork()
            if not child:
                _be_child(target, folder, log, inputs - int(told["inputs"]), seed)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            for line in log.read_text().splitlines() if log.is_file() else ():
                chunk, seed = json.loads(line), seed + 1
                for name in told:
                    told[name] = (max if name.endswith(("mb", "_s")) else sum)((told[name], chunk[name]))
            log.unlink(missing_ok=True)
            if code:
                _keep(target, seed, folder.with_suffix(".choices").read_text(), f"its process ended with {code}")
                seed, told["inputs"], told["finds"] = seed + 1, told["inputs"] + 1, told["finds"] + 1
            bar.update(told["inputs"] - bar.n)
    return told


def _be_child(target: Target, folder: Path, log: Path, inputs: int, seed: int) -> None:
    """Chunks of inputs, a line in the log for each."""
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        session = Session(target, folder)
        room = _memory_mb("VmSize") + _ROOM_MB
        resource.setrlimit(resource.RLIMIT_AS, (int(room * 2**20), resource.RLIM_INFINITY))
        while session.inputs_done < inputs:
            told = session.chunk(min(_CHUNK, inputs - session.inputs_done), seed)
            with log.open("a") as file:
                file.write(json.dumps(told) + "\n")
            seed += 1
        code = 0
    except BaseException:
        folder.with_suffix(".fault").write_text(traceback.format_exc())
    finally:
        os._exit(code)


class Session:
    """The inputs of a target in this process.

    Args:
        target: which one.
        folder: where inputs are written to.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self._target, self._folder = target, folder
        self._bases, self._there = target.bases(), Files()
        self._start_mb = 0.0
        self.inputs_done = 0

    def chunk(self, inputs: int, seed: int) -> dict[str, Any]:
        """So many inputs of a seed, fewer after a find, which is shrunk and kept."""
        from hypothesis import HealthCheck, Phase, given, settings, strategies
        from hypothesis import seed as seeded

        told: dict[str, float] = {
            "inputs": 0,
            "accepted": 0,
            "refused": 0,
            "finds": 0,
            "grown_mb": 0.0,
            "slowest_s": 0.0,
        }
        last: list[tuple[bytes, str]] = []

        def check(content: bytes) -> None:
            if last and last[-1][1].startswith("hang"):  # too slow to be shrunk
                return
            start = time.process_time()
            told["inputs"] += 1
            try:
                told[self.outcome(content)] += 1
            except Find as find:
                last.append((content, str(find)))
                raise
            finally:
                told["slowest_s"] = max(told["slowest_s"], round(time.process_time() - start, 3))

        kept = settings(
            max_examples=inputs,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[*HealthCheck],
            print_blob=False,
        )
        try:
            seeded(seed)(kept(given(strategies.binary(min_size=_FEWEST, max_size=_MOST))(check)))()
        except Exception:  # of Hypothesis, which says that an input is no find the second time, too
            if not last:
                raise
            told["finds"] = 1
            _keep(self._target, seed, last[-1][0].hex(), last[-1][1], self._folder)
        told["grown_mb"] = round(self._grown_mb(), 1)
        self.inputs_done += int(told["inputs"])
        return told

    def outcome(self, content: bytes) -> str:
        """``accepted`` or ``refused``.

        Raises:
            Find: anything else.
        """
        target, choices = self._target, Choices(content)
        base = self._bases[choices.below(len(self._bases))]
        files = mutate(base, choices, target.words, names=target.names)
        if target.mend and choices.below(2):
            files = target.mend(files)
        self._write(files)
        self._folder.with_suffix(".choices").write_text(content.hex())
        self._start_mb = self._start_mb or _memory_mb("VmHWM")
        with _watched():
            found = _outcome(target, self._folder)
        if found not in ("accepted", "refused"):
            raise Find(found)
        if (grown := self._grown_mb()) > _GROWTH_MB:
            self._start_mb += grown
            raise Find(f"memory: {grown:.0f} MB more than at the start")
        return found

    def _grown_mb(self) -> float:
        return _memory_mb("VmHWM") - self._start_mb

    def _write(self, files: Files) -> None:
        """Write what is other than what is there."""
        if self._target.names or self._target.writes:
            shutil.rmtree(self._folder)
            self._folder.mkdir()
            self._there = {}
        for name in self._there.keys() - files.keys():
            (self._folder / name).unlink()
        for name, content in files.items():
            if self._there.get(name) != content:
                write_file(self._folder, name, content)
        self._there = files


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Write a file below a folder, unless its name is none that a file may have."""
    parts = [part.replace("\0", "")[:80] for part in name.split("/")]
    file = folder.joinpath(*(part for part in parts if part not in ("", ".", "..")))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except (OSError, UnicodeEncodeError):  # a folder and a file of one name; half a character
        return


def _outcome(target: Target, folder: Path) -> str:
    """``accepted``, ``refused``, or what is wrong."""
    try:
        target.read(folder)
    except (UserError, OSError) as error:
        wrong = told_wrong(str(error), folder, target)
        return f"message: {wrong}: {shown(str(error), 2000)}" if wrong else "refused"
    except _Hang:
        return f"hang: over {_HANG_S:.0f} s"
    except Exception as error:
        where = "".join(traceback.format_tb(error.__traceback__)[-3:])
        return f"{type(error).__name__}: {shown(str(error))}\n{where}"
    return "accepted"


@contextmanager
def _watched() -> Iterator[None]:
    """End what takes too long: by an exception, or the process where a library does not come back."""

    def end(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, _HANG_S)
    faulthandler.dump_traceback_later(_STUCK_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _work() -> Iterator[Path]:
    where = str(_MEMORY) if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="fuzz-") as temporary:
        folder = Path(temporary) / "input"
        folder.mkdir()
        yield folder


def _keep(target: Target, seed: int, choices: str, why: str, folder: Path | None = None) -> None:
    """Keep a find: what was wrong, the command that repeats it, and its files."""
    place = FOUND / f"{target.name}-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = f"python -m benchmarks fuzz --target {target.name} --choices {choices}"
    (place / "find.txt").write_text(f"{command}\n{why}\n")
    if folder and folder.is_dir():
        shutil.copytree(folder, place / "input", symlinks=True)


def _memory_mb(name: str) -> float:
    """A line of ``/proc/self/status``; 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return int(text.partition(f"{name}:")[2].split()[0]) / 1024
