"""Schedules the training of several runs of one recipe, with a given number of concurrent runs.

No progress is lost on an interruption: a run that receives a signal, or notices that its parent command was killed,
saves its state and ends.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fecnet.config.node import Frozen, load_config
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.runs.folders import check_same_data, fixed_differences
from fecnet.runs.training import open_dataset
from fecnet.studies.process_pool import FAULT, ProcessPool
from fecnet.utils.env import visible_gpus
from fecnet.utils.errors import ConfigError, FaultElsewhereError, UserError
from fecnet.utils.files import locked
from fecnet.utils.in_place import make_folders
from fecnet.utils.signals import StopOnSignal

logger = logging.getLogger(__name__)

_POLL_S = 0.1  # between two polls of the processes
_GRACE_S = 30.0  # time in which runs whose parent command was killed save and end


@dataclass(frozen=True)
class PlannedRun:
    """One of several runs of a recipe.

    Attributes:
        name: name of its folder and its log.
        overrides: ``KEY VALUE …`` that override the recipe.
    """

    name: str
    overrides: tuple[str, ...] = ()


def train_all(
    recipe: Path, runs: Sequence[PlannedRun], folder: Path, *, jobs: int = 1, devices: Sequence[str] = ()
) -> None:
    """Train the runs that are not finished, each in ``folder/<name>`` with its output in ``folder/<name>.log``.

    Finished runs are skipped, interrupted ones resumed. A run that fails does not stop the others. The first SIGINT or
    SIGTERM stops all: they save their state, and the same call resumes them.

    Args:
        recipe: YAML recipe.
        runs: names and settings; the names must differ.
        folder: folder of the run folders and logs.
        jobs: number of concurrent runs; they share the cores, unless ``OMP_NUM_THREADS`` is set.
        devices: GPUs such as ``("0", "1")``; one run at a time is trained on each, and ``jobs`` is ignored.

    Raises:
        UserError: a wrong setting; no such GPU; an existing run was trained with other settings or data; another call
            trains in ``folder``; or runs failed: one line names them and their logs.
        FaultElsewhereError: runs failed, one of them because of a bug in fecnet.
        SystemExit: 128 + the signal that ended it.
    """
    _check(runs, jobs)
    slots: Sequence[str | None] = visible_gpus(devices, key="--devices") or [None] * min(jobs, len(runs))
    resolved = {run: load_config(recipe, _settings(run, folder)) for run in runs}
    if devices and any(cfg.DEVICE == "cpu" for cfg in resolved.values()):
        raise ConfigError(f"DEVICE: 'cpu', but --devices {','.join(devices)} asks for GPUs; give one of the two")
    datasets = {cfg.DATA.PATH: open_dataset(cfg) for cfg in {cfg.DATA.PATH: cfg for cfg in resolved.values()}.values()}
    make_folders(folder)
    problem = f"{folder}: another command trains here; wait for it to end"
    with locked(folder / ".lock", problem, wait_s=_GRACE_S) as lock:
        left = [run for run, cfg in resolved.items() if not _is_finished(folder / run.name, cfg, datasets)]
        pool = ProcessPool(recipe, folder, lock, slots)
        with (
            StopOnSignal() as stop,
            tqdm(total=len(runs), initial=len(runs) - len(left), unit="run", dynamic_ncols=True, mininterval=1) as bar,
        ):
            ended_by = _train(left, folder, pool, stop, bar)
    if ended_by:
        name, there = signal.Signals(ended_by).name, len(runs) - len(left) + pool.finished
        logger.info(
            f"{folder}: {name}: the runs have saved, {there} of {len(runs)} are finished; the same command goes on"
        )
        raise SystemExit(128 + ended_by)
    if pool.failed:
        ended_by_fault = FAULT in pool.failed.values()
        raise (FaultElsewhereError if ended_by_fault else UserError)(_failure(folder, pool.failed, len(runs)))


def _train(left: Sequence[PlannedRun], folder: Path, pool: ProcessPool, stop: StopOnSignal, bar: tqdm[Any]) -> int:
    """Train ``left`` in order; 0, or the signal that ended it."""
    waiting = list(left)
    try:
        while waiting or pool.running:
            if number := stop.agreed():
                return number
            while waiting and pool.has_free_slot:
                run = waiting.pop(0)
                pool.start(run.name, _settings(run, folder))
                bar.set_postfix_str(", ".join(pool.running), refresh=False)
            time.sleep(_POLL_S)
            bar.update(pool.collect())
    finally:
        pool.end()
    return 0


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
    """Whether a run has finished training with these settings and data.

    Raises:
        UserError: it was trained with other settings or data.
    """
    if not (run / "checkpoints" / "last").is_file():
        return False
    info = load_info(find_checkpoint(run, "last"))
    if problems := fixed_differences(cfg, info):
        raise UserError(f"{problems[0]}; give another folder")
    check_same_data(info, datasets[cfg.DATA.PATH])
    length = info.settings().SOLVER.LENGTH  # may differ when a run goes on
    if length > cfg.SOLVER.LENGTH:
        raise UserError(f"{run}: SOLVER.LENGTH {length:g} there, {cfg.SOLVER.LENGTH:g} given; give another folder")
    return bool(length == cfg.SOLVER.LENGTH and info.is_finished)


def _failure(folder: Path, failed: dict[str, str], total: int) -> str:
    logs = ", ".join(f"{name}.log ({how})" for name, how in failed.items())
    first = folder / f"{next(iter(failed))}.log"
    lines = first.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{folder}: {len(failed)} of {total} runs failed, see {logs}; the first says: {last}"
