"""The stages of ``rehearsal.py``: commands of a page that are started, watched, killed at random and started again."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from benchmarks.growth import memory_mb
from benchmarks.survive import LIMIT_S, ROOT, alive, children
from fecnet.utils.files import replace_json

_LOOK_S, _SAMPLE_S = 0.05, 0.25
_PROGRAMS = {"fecnet": ["-m", "fecnet"], "torchrun": ["-m", "torch.distributed.run"]}


@dataclass(frozen=True)
class Stage:
    """A command, and how it is disturbed.

    Attributes:
        name: of the stage.
        command: as the page shows it.
        added: words that the rehearsal adds; patterns of files are expanded, as a shell does.
        kills: how often it is killed.
        removed: what an undisturbed start removes, as patterns.
        made: a file that is written last, so that a killed command that wrote it has ended.
        until: a text of its output after which it is interrupted, as the page says, instead of going on to its end.
    """

    name: str
    command: str
    added: tuple[str, ...] = ()
    kills: int = 1
    removed: tuple[str, ...] = ()
    made: str = ""
    until: str = ""

    def words(self, folder: Path) -> list[str]:
        """The command line of the process, which is started in ``folder``."""
        program, *words = shlex.split(self.command)
        added = [found for word in self.added for found in (_files(folder, word) if "*" in word else [word])]
        return [sys.executable, *_PROGRAMS[program], *words, *added]


class Attempt(NamedTuple):
    """One process of a stage; ``code`` is None where it was killed."""

    seconds: float
    peak_mb: float
    code: int | None


@dataclass(frozen=True)
class Finished:
    """A stage that has come to its end.

    Attributes:
        seconds: of all its processes together.
        peak_mb: most memory of all processes of the command together, without mapped files.
        killed_after_s: seconds from a start to a kill.
    """

    seconds: float
    peak_mb: float
    killed_after_s: list[float]


class Lane:
    """A folder in which all stages are run in turn; those that are finished are kept.

    Args:
        folder: where the commands are started.
        seed: of the moments of the kills.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self._seed = seed
        self._file = folder / "stages.json"
        folder.mkdir(parents=True, exist_ok=True)
        held = json.loads(self._file.read_text()) if self._file.is_file() else {}
        self.finished = {name: Finished(**told) for name, told in held.items()}

    def log_of(self, stage: Stage) -> Path:
        """What the commands of a stage have printed."""
        return self.folder / f"{stage.name}.log"

    def run_alone(self, stage: Stage) -> Finished:
        """From the start to the end, undisturbed."""
        with self._kept(stage) as attempts:
            if stage.name not in self.finished:
                self._remove(stage)
                attempts.append(self._attempt(stage))
        return self.finished[stage.name]

    def run_killed(self, stage: Stage, alone_s: float) -> Finished:
        """Killed at random moments of the seconds that it takes alone, and started again until its end."""
        with self._kept(stage) as attempts:
            while stage.name not in self.finished and not _killed(attempts):
                attempts.clear()
                self._remove(stage)
                self._kill_and_go_on(stage, alone_s, attempts)
                alone_s /= 2  # for another try where it had ended before the first kill
        return self.finished[stage.name]

    def _kill_and_go_on(self, stage: Stage, alone_s: float, attempts: list[Attempt]) -> None:
        draw = random.Random(f"{self._seed} {stage.name}")
        moments = sorted(draw.uniform(0.05, 0.95) * alone_s for _ in range(stage.kills))
        for before, moment in pairwise([0.0, *moments]):
            attempts.append(self._attempt(stage, kill_after_s=moment - before))
            if attempts[-1].code is not None:
                return
            print(f"{stage.name}: killed after {attempts[-1].seconds:.1f} s", flush=True)
            if stage.made and (self.folder / stage.made).exists():
                return
        attempts.append(self._attempt(stage))

    @contextmanager
    def _kept(self, stage: Stage) -> Iterator[list[Attempt]]:
        """Writes down what was done, if anything."""
        attempts: list[Attempt] = []
        yield attempts
        if attempts:
            seconds, peak = sum(each.seconds for each in attempts), max(each.peak_mb for each in attempts)
            told = Finished(round(seconds, 1), round(peak), _killed(attempts))
            self.finished[stage.name] = told
            replace_json(self._file, {name: asdict(each) for name, each in self.finished.items()})
            print(f"{self.folder.name}: {stage.name}: {told}", flush=True)

    def _remove(self, stage: Stage) -> None:
        for pattern in stage.removed:
            for found in self.folder.glob(pattern):
                shutil.rmtree(found)

    def _attempt(self, stage: Stage, *, kill_after_s: float | None = None) -> Attempt:
        """Start the command and watch it.

        Raises:
            SystemExit: it has failed.
        """
        log = self.log_of(stage)
        with log.open("ab") as file:
            start_of_log, began = file.tell(), time.monotonic()
            words = stage.words(self.folder)
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(words, stdout=file, stderr=file, env=environment, cwd=self.folder)
        peak, code, looked = 0.0, None, 0.0
        try:
            while (code := process.poll()) is None:
                seconds = time.monotonic() - began
                if seconds - looked >= _SAMPLE_S:
                    looked, peak = seconds, max(peak, _memory_of([process.pid, *descendants(process.pid)]))
                    if stage.until and stage.until.encode() in log.read_bytes()[start_of_log:]:
                        process.send_signal(signal.SIGINT)
                        code = process.wait(LIMIT_S)
                        break
                if kill_after_s is not None and seconds >= kill_after_s:
                    break
                time.sleep(_LOOK_S)
        finally:
            end_tree(process)
        if code not in (None, 0, *([128 + signal.SIGINT] if stage.until else [])):
            raise SystemExit(f"{shlex.join(words)}: ended with {code}; see {log}")
        return Attempt(time.monotonic() - began, peak, code)


def _files(folder: Path, pattern: str) -> list[str]:
    return sorted(str(found.relative_to(folder)) for found in folder.glob(pattern))


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    found = []
    with suppress(OSError):
        for child in children(pid):
            found += [child, *descendants(child)]
    return found


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it has started, which torchrun puts into other groups."""
    everyone = [process.pid, *descendants(process.pid)]
    for pid in everyone if process.poll() is None else everyone[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(LIMIT_S)
    limit = time.monotonic() + LIMIT_S
    while any(alive(pid) for pid in everyone[1:]):
        if time.monotonic() > limit:
            raise SystemExit(f"processes {everyone} outlived SIGKILL by {LIMIT_S:g} s")
        time.sleep(_LOOK_S)


def _memory_of(pids: Sequence[int]) -> float:
    total = 0.0
    for pid in pids:
        with suppress(OSError, IndexError):  # IndexError: a zombie has no memory
            total += memory_mb(pid)
    return total


def _killed(attempts: Sequence[Attempt]) -> list[float]:
    return [round(each.seconds, 1) for each in attempts if each.code is None]
