"""Trains several runs of one recipe, as many at once as asked for; as a program it trains one of them.

Nothing is lost when something ends: a run that is signalled saves and leaves, and a run whose command was killed sees
that and does the same.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fecnet.config.node import Frozen, load_config
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_meta
from fecnet.runs.folders import check_same_data, fixed_differences
from fecnet.runs.training import open_dataset, train_run
from fecnet.utils import comm
from fecnet.utils.errors import FaultElsewhereError, UserError
from fecnet.utils.files import locked
from fecnet.utils.package import PACKAGE
from fecnet.utils.program import run_program
from fecnet.utils.signals import StopOnSignal

logger = logging.getLogger(__name__)

_LOOK_S = 0.1  # between two looks at what has ended
_LEAVE_S = 30.0  # within which runs whose command was killed have saved and left


@dataclass(frozen=True)
class PlannedRun:
    """One of several runs of a recipe.

    Attributes:
        name: of its folder and its log.
        overrides: ``KEY VALUE …`` that replace the recipe's.
    """

    name: str
    overrides: tuple[str, ...] = ()


def train_all(
    recipe: Path, runs: Sequence[PlannedRun], folder: Path, *, jobs: int = 1, devices: Sequence[str] = ()
) -> None:
    """Train the runs that are not finished, each in ``folder/<name>`` with its output in ``folder/<name>.log``.

    Finished runs are passed over, interrupted ones gone on with. A run that fails does not stop the others. The first
    SIGINT or SIGTERM ends all: they save, and the same call goes on with them.

    Args:
        recipe: YAML recipe.
        runs: names and settings; the names must differ.
        folder: for the run folders and logs.
        jobs: runs at once; they share the cores, unless ``OMP_NUM_THREADS`` is set.
        devices: GPUs such as ``("0", "1")``, a run at once on each of them instead of ``jobs``.

    Raises:
        UserError: a setting that is wrong; a run there was trained with other settings or data; another call trains
            in ``folder``; runs failed: one line names them and their logs.
        FaultElsewhereError: runs failed, one of them by a fault of fecnet.
        SystemExit: 128 + the signal that ended it.
    """
    _check(runs, jobs)
    resolved = {run: load_config(recipe, _settings(run, folder)) for run in runs}
    datasets = {cfg.DATA.PATH: open_dataset(cfg) for cfg in {cfg.DATA.PATH: cfg for cfg in resolved.values()}.values()}
    folder.mkdir(parents=True, exist_ok=True)
    problem = f"{folder}: another command trains here; wait for it to end"
    with locked(folder / ".lock", problem, wait_s=_LEAVE_S) as lock:
        left = [run for run, cfg in resolved.items() if not _is_finished(folder / run.name, cfg, datasets)]
        children = _Children(recipe, folder, lock, list(devices) or [None] * min(jobs, len(runs)))
        with (
            StopOnSignal() as stop,
            tqdm(total=len(runs), initial=len(runs) - len(left), unit="run", dynamic_ncols=True, mininterval=1) as bar,
        ):
            ended_by = _train(left, children, stop, bar)
    if ended_by:
        name, there = signal.Signals(ended_by).name, len(runs) - len(left) + children.finished
        logger.info(
            f"{folder}: {name}: the runs have saved, {there} of {len(runs)} are finished; the same command goes on"
        )
        raise SystemExit(128 + ended_by)
    if children.failed:
        ended_by_fault = _how(1) in children.failed.values()
        raise (FaultElsewhereError if ended_by_fault else UserError)(_failure(folder, children.failed, len(runs)))


def _train(left: Sequence[PlannedRun], children: _Children, stop: StopOnSignal, bar: tqdm[Any]) -> int:
    """Train ``left`` in order; 0, or the signal that ended it."""
    waiting = list(left)
    try:
        while waiting or children.running:
            if number := stop.agreed():
                return number
            while waiting and children.has_room:
                children.start(waiting.pop(0))
                bar.set_postfix_str(", ".join(children.running), refresh=False)
            time.sleep(_LOOK_S)
            bar.update(children.collect())
    finally:
        children.end()
    return 0


class _Children:
    """The processes that train, at most one a seat.

    Args:
        recipe: YAML recipe.
        folder: for run folders and logs.
        lock: an open file that all of them hold.
        seats: a GPU each, or None for whatever the settings say.

    Attributes:
        running: process and seat by name of the run.
        finished: how many have trained to their end.
        failed: names of runs that ended otherwise by themselves, and how.
    """

    def __init__(self, recipe: Path, folder: Path, lock: int, seats: Sequence[str | None]) -> None:
        self._recipe = recipe
        self._folder = folder
        self._lock = lock
        self._free = list(seats)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = max(1, cores // len(seats))
        self.running: dict[str, tuple[subprocess.Popen[bytes], str | None]] = {}
        self.finished = 0
        self.failed: dict[str, str] = {}

    @property
    def has_room(self) -> bool:
        """Whether another may be started."""
        return bool(self._free)

    def start(self, run: PlannedRun) -> None:
        """Begin to train ``run``, or go on with it."""
        seat = self._free.pop(0)
        packages = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, packages))}
        environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        if seat is not None:
            environment["CUDA_VISIBLE_DEVICES"] = seat
        command = [sys.executable, "-m", "fecnet.studies.many_runs", str(self._recipe), *_settings(run, self._folder)]
        with (self._folder / f"{run.name}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # closed when this process ends, however it does
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(self._lock,),
                start_new_session=True,  # a Ctrl-C is for this process, which ends them
            )
        self.running[run.name] = child, seat

    def collect(self) -> int:
        """Take leave of those that have ended; how many."""
        ended = [name for name, (child, _) in self.running.items() if child.poll() is not None]
        for name in ended:
            child, seat = self.running.pop(name)
            self._free.append(seat)
            assert child.stdin is not None
            child.stdin.close()
            if child.returncode:
                self.failed[name] = _how(child.returncode)
            else:
                self.finished += 1
        return len(ended)

    def end(self) -> None:
        """Let those that still run save, and wait for them."""
        for child, _ in self.running.values():
            child.terminate()
        for child, _ in self.running.values():
            self.finished += not child.wait()


def _check(runs: Sequence[PlannedRun], jobs: int) -> None:
    names = [run.name for run in runs]
    if len(set(names)) < len(names) or not all(Path(name).name == name for name in names):
        raise UserError(f"runs {', '.join(names)}: expected names of folders that differ")
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: expected 1 or more")
    if "LOCAL_RANK" in os.environ:
        raise UserError("several runs start processes of their own; give their number with --jobs, not by torchrun")


def _settings(run: PlannedRun, folder: Path) -> list[str]:
    return [*run.overrides, "OUTPUT_DIR", str(folder), "NAME", run.name]


def _is_finished(run: Path, cfg: Frozen, datasets: Mapping[str, PackedDataset]) -> bool:
    """Whether a run has trained to its end, with these settings and data.

    Raises:
        UserError: it was trained with others.
    """
    if not (run / "checkpoints" / "last").is_file():
        return False
    checkpoint = find_checkpoint(run, "last")
    if problems := fixed_differences(cfg, checkpoint):
        raise UserError(f"{problems[0]}; give another folder")
    check_same_data(checkpoint, datasets[cfg.DATA.PATH])
    meta = load_meta(checkpoint)
    length = meta["config"]["SOLVER"]["LENGTH"]  # may differ when a run goes on
    if length > cfg.SOLVER.LENGTH:
        raise UserError(f"{run}: SOLVER.LENGTH {length:g} there, {cfg.SOLVER.LENGTH:g} given; give another folder")
    return bool(length == cfg.SOLVER.LENGTH and meta["iteration"] >= meta["length"])


def _how(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return f"ended by {signal.Signals(number).name}"
    return f"exit code {code}"


def _failure(folder: Path, failed: dict[str, str], total: int) -> str:
    logs = ", ".join(f"{name}.log ({how})" for name, how in failed.items())
    first = folder / f"{next(iter(failed))}.log"
    lines = first.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{folder}: {len(failed)} of {total} runs failed, see {logs}; the first says: {last}"


def _train_one(recipe: str, *overrides: str) -> int:
    """Train or go on; ends as by SIGTERM when the process that holds the other end of the input is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return train_run(load_config(recipe, overrides), recipe=Path(recipe).stem, resume="auto")
    finally:
        comm.stop()


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed: nothing is ever written to it
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run_program(lambda: _train_one(*sys.argv[1:])))
