"""A pool of child processes, each of which trains one run on a GPU or a share of the cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fecnet.utils.cores import usable_cores
from fecnet.utils.package import PACKAGE

FAULT = "exit code 1"  # the result of a child process with a bug in fecnet


class ProcessPool:
    """The child processes that train, at most one per slot; see ``fecnet.studies.child``.

    Args:
        recipe: YAML recipe.
        folder: folder of the logs.
        lock: an open, locked file that all of them inherit.
        slots: a GPU for each slot, or None for the device of the settings.

    Attributes:
        running: process and slot by name of the run.
        finished: number of runs that finished training.
        failed: how other runs ended, by name.
    """

    def __init__(self, recipe: Path, folder: Path, lock: int, slots: Sequence[str | None]) -> None:
        self._recipe = recipe
        self._folder = folder
        self._lock = lock
        self._free = list(slots)
        self._threads = max(1, usable_cores() // len(slots))
        self.running: dict[str, tuple[subprocess.Popen[bytes], str | None]] = {}
        self.finished = 0
        self.failed: dict[str, str] = {}

    @property
    def has_free_slot(self) -> bool:
        """Whether another process can be started."""
        return bool(self._free)

    def start(self, name: str, settings: Sequence[str]) -> None:
        """Train a run, or resume it.

        Args:
            name: name of the run and its log.
            settings: ``KEY VALUE …``, including its folder.
        """
        slot = self._free.pop(0)
        packages = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, packages))}
        environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        if slot is not None:
            environment["CUDA_VISIBLE_DEVICES"] = slot
        command = [sys.executable, "-m", "fecnet.studies.child", str(self._recipe), *settings]
        with (self._folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # closed when this process ends, even if it is killed
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(self._lock,),
                start_new_session=True,  # Ctrl-C goes only to this process, which then stops them
            )
        self.running[name] = child, slot

    def collect(self) -> int:
        """Reap the processes that have ended; returns their number."""
        ended = [name for name, (child, _) in self.running.items() if child.poll() is not None]
        for name in ended:
            child, slot = self.running.pop(name)
            self._free.append(slot)
            assert child.stdin is not None
            child.stdin.close()
            if child.returncode:
                self.failed[name] = _reason(child.returncode)
            else:
                self.finished += 1
        return len(ended)

    def end(self) -> None:
        """Let running processes save their state and end, and wait for them."""
        for child, _ in self.running.values():
            child.terminate()
        for child, _ in self.running.values():
            self.finished += not child.wait()


def _reason(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return f"ended by {signal.Signals(number).name}"
    return f"exit code {code}"
