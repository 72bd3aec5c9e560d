"""A long run: three processes on a million faces and ten million triplets, disturbed every few minutes.

One run is left alone, another is killed, restarted and paused in turn until it comes to the same iteration. The two
must end with equal weights, optimizer and metrics, to the bit; and the memory, open files and threads of their
processes must not grow. The net is tiny, so that it is the data path, the checkpoints and the loop that are tried.

The parts stay in ``result/long``: the same command goes on after the last finished one. The run that is left alone
begins anew where it was not finished; the disturbed one takes that for one more disturbance.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.growth import memory_mb, sparse_set
from benchmarks.survive import LIMIT_S, ROOT, alive, assert_same, children
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.utils.files import replace_json

FOLDER = ROOT / "result" / "long"
RANKS = 3
KINDS = ("a rank is killed", "a rank is paused", "all are restarted", "all are killed")
REQUIRED = {"slope_mb_per_1000_iterations": 1.0, "files_grown": 0, "threads_grown": 0}
RECIPE = """
DATA: {PATH: %s, INPUT_SIZE: 32, EVAL_SPLITS: [val]}
AUGMENT: {FLIP: 0.5, TRANSLATE: 0.05}
MODEL: {BACKBONE: resnet18, WIDTH_MULT: 0.125, BLOCKS: [1, 1], NECK: conv1x1, NECK_CHANNELS: 16, FEATURE_DIM: 16}
SOLVER: {LENGTH: %d, BATCH_SIZE: 96, OPTIMIZER: adamw, BASE_LR: 1e-3, EMA_DECAY: 0.99, SCHEDULE: cosine}
EVAL: {PERIOD: %d}
CHECKPOINT: {PERIOD: %d, KEEP: 2}
LOG: {PERIOD: 25, TENSORBOARD: false}
OUTPUT_DIR: %s
DEVICE: cpu
"""
_MIN_ITERATIONS = 1000  # of a process, from which a slope is taken
_MIN_SAMPLES = 9  # likewise
_END_S = 10 * LIMIT_S  # within which a launch that was ended is gone


@dataclass(frozen=True)
class Plan:
    """How long, how large and how often.

    Attributes:
        faces: in the data set.
        triplets: of its training split.
        length: iterations of both runs.
        save: iterations between two checkpoints, and two evaluations.
        every_s: seconds between two disturbances, on average.
        pause_s: for which a rank stands still.
        sample_s: seconds between two looks at the processes.
    """

    faces: int
    triplets: int
    length: int
    save: int
    every_s: float
    pause_s: float
    sample_s: float


class Sample(NamedTuple):
    """A process at a moment; ``iteration`` is the last one that the run has logged."""

    pid: int
    iteration: int
    memory_mb: float
    files: int
    threads: int


def run(*, quick: bool, hours: float = 2.0) -> dict[str, Any]:
    """Both runs and their comparison; a quick run takes a minute and keeps nothing."""
    if quick:
        with tempfile.TemporaryDirectory() as temporary:
            return measure(Path(temporary), Plan(2000, 4000, 400, 50, every_s=8.0, pause_s=2.0, sample_s=0.5))
    return measure(FOLDER, _planned(FOLDER, hours))


def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """What is not done yet of the two runs, and what they say together."""
    data = sparse_set(folder / "data", plan.faces, plan.triplets, written=plan.faces // 256)
    if not _is_finished(folder / "whole"):
        shutil.rmtree(folder / "whole", ignore_errors=True)
        (folder / "whole.jsonl").unlink(missing_ok=True)
        with closing(Launch(folder, data, plan, "whole")) as launch:
            launch.watch(until_s=None)
    if not _is_finished(folder / "disturbed"):
        with closing(Launch(folder, data, plan, "disturbed")) as launch:
            disturb(launch, plan)
    assert_same(folder / "whole", folder / "disturbed")
    events = [json.loads(line) for line in (folder / "disturbed.events.jsonl").read_text().splitlines()]
    found = {name: flatness(read_samples(folder / f"{name}.jsonl")) for name in ("whole", "disturbed")}
    told = {"plan": asdict(plan), "disturbances": len(events), "equal": True, **found, "required": REQUIRED}
    print(json.dumps(told))
    return {**told, "events": events}


def _planned(folder: Path, hours: float) -> Plan:
    """The plan that is kept in the folder, or one whose length is as many iterations as an undisturbed run does."""
    file = folder / "plan.json"
    sizes = {
        "faces": 1_000_000,
        "triplets": 10_000_000,
        "save": 500,
        "every_s": 180.0,
        "pause_s": 30.0,
        "sample_s": 5.0,
    }
    if file.is_file():
        kept = json.loads(file.read_text())
        if kept.pop("hours") != hours:
            raise SystemExit(f"{folder}: of another number of hours; remove it, or give --hours as it was given")
        return Plan(**kept)
    trial = Plan(length=1000, **sizes)  # type: ignore[arg-type]  # mypy does not know the types of a mapping's values
    data = sparse_set(folder / "data", trial.faces, trial.triplets, written=trial.faces // 256)
    shutil.rmtree(folder / "trial", ignore_errors=True)
    with closing(Launch(folder, data, trial, "trial")) as launch:
        launch.watch(until_s=None)
    info = load_info(find_checkpoint(folder / "trial", "last"))
    length = max(2000, round(hours * 3600 / info.seconds * info.iteration / 1000) * 1000)
    replace_json(file, {"hours": hours, **asdict(trial), "length": length})
    return _planned(folder, hours)


class Launch:
    """A run on three processes, started and watched.

    Args:
        folder: for its run folder, its log and the samples.
        data: the data set.
        plan: its length, and how often it is looked at.
        name: of the run.
    """

    def __init__(self, folder: Path, data: Path, plan: Plan, name: str) -> None:
        self.run = folder / name
        self.events = folder / f"{name}.events.jsonl"
        self._plan = plan
        self._samples = folder / f"{name}.jsonl"
        self._recipe = folder / f"{name}.yaml"
        self._recipe.write_text(RECIPE % (data, plan.length, plan.save, plan.save, folder))
        self.start()

    def start(self) -> None:
        """Start the run, or go on with it."""
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={RANKS}"]
        command = [*launcher, str(ROOT / "train.py"), "--resume", "auto", str(self._recipe), "NAME", self.run.name]
        with self.run.with_suffix(".log").open("a") as log:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
        self._began = self._saved

    @property
    def has_saved(self) -> bool:
        """Whether a checkpoint was written since the start; a run that is disturbed before comes to no end."""
        return self._saved != self._began

    @property
    def _saved(self) -> str:
        pointer = self.run / "checkpoints" / "last"
        return pointer.read_text() if pointer.is_file() else ""

    @property
    def iteration(self) -> int:
        """The last one that is logged; 0 before."""
        with suppress(OSError, ValueError, IndexError), (self.run / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            return int(json.loads(file.read().splitlines()[-1])["iteration"])
        return 0

    @property
    def ranks(self) -> list[int]:
        """The processes that train."""
        with suppress(OSError):
            return [pid for pid in children(self.process.pid) if alive(pid)]
        return []

    def watch(self, *, until_s: float | None) -> bool:
        """Look at the processes until the launch ends, or for some seconds.

        Returns:
            Whether it has ended, and well.

        Raises:
            SystemExit: it has failed.
        """
        end = None if until_s is None else time.monotonic() + until_s
        while (code := self.process.poll()) is None and (end is None or time.monotonic() < end):
            time.sleep(self._plan.sample_s)
            found = [sample for pid in self.ranks if (sample := look(pid, self.iteration)) is not None]
            with self._samples.open("a") as file:
                file.writelines(f"{json.dumps(sample)}\n" for sample in found)
        if code:
            raise SystemExit(f"{self.run}: ended with {code}; see {self.run.with_suffix('.log')}")
        return code == 0

    def close(self) -> None:
        """Let the run save and end, where it has not."""
        self.process.terminate()
        self.process.wait(_END_S)

    def end(self, pids: Sequence[int], number: int) -> None:
        """Send a signal to processes of the run, wait until none is left, and start it again."""
        everyone = self.ranks
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        self.process.wait(_END_S)
        limit = time.monotonic() + LIMIT_S
        while any(alive(pid) for pid in everyone):
            if time.monotonic() > limit:
                raise SystemExit(f"{self.run}: ranks outlived their launcher by {LIMIT_S:g} s")
            time.sleep(0.1)
        self.start()


def disturb(launch: Launch, plan: Plan) -> None:
    """Kill, pause and restart the run in turn until it is finished."""
    draw = random.Random(0)
    for kind in cycle(KINDS):
        if _watch_alone(launch, plan, plan.every_s * draw.uniform(0.6, 1.4)):
            return
        before, began, ranks = launch.iteration, time.monotonic(), launch.ranks
        if not ranks:  # all is done but for the launcher
            continue
        _ACTIONS[kind](launch, draw.choice(ranks), plan)
        event = {"kind": kind, "at_iteration": before, "seconds": round(time.monotonic() - began, 1)}
        with launch.events.open("a") as file:
            file.write(f"{json.dumps(event)}\n")
        print(f"iteration {before} of {plan.length}: {kind}", flush=True)


def _watch_alone(launch: Launch, plan: Plan, wait_s: float) -> bool:
    """Watch for some seconds, and until the run has saved; whether it has come to its end."""
    while not (ended := launch.watch(until_s=wait_s)) and not launch.has_saved:
        wait_s = plan.sample_s
    return ended


def _kill_one(launch: Launch, rank: int, plan: Plan) -> None:
    launch.end([rank], signal.SIGKILL)


def _kill_all(launch: Launch, rank: int, plan: Plan) -> None:
    launch.end([launch.process.pid, *launch.ranks], signal.SIGKILL)


def _restart(launch: Launch, rank: int, plan: Plan) -> None:
    launch.end([launch.process.pid], signal.SIGTERM)


def _pause(launch: Launch, rank: int, plan: Plan) -> None:
    with suppress(ProcessLookupError):
        os.kill(rank, signal.SIGSTOP)
        time.sleep(plan.pause_s)
        os.kill(rank, signal.SIGCONT)


_ACTIONS: dict[str, Callable[[Launch, int, Plan], None]] = dict(
    zip(KINDS, (_kill_one, _pause, _restart, _kill_all), strict=True)
)


def look(pid: int, iteration: int) -> Sample | None:
    """What a process takes now; None where it has ended."""
    try:
        files, threads = (len(list(Path(f"/proc/{pid}/{name}").iterdir())) for name in ("fd", "task"))
        return Sample(pid, iteration, memory_mb(pid), files, threads)
    except (OSError, IndexError):  # IndexError: a zombie has no memory
        return None


def read_samples(file: Path) -> list[Sample]:
    """The samples of a run."""
    return [Sample(*json.loads(line)) for line in file.read_text().splitlines()]


def flatness(samples: Sequence[Sample]) -> dict[str, Any]:
    """How much processes have grown that ran long enough to tell, without their first third.

    Returns:
        The number of these processes and, of the worst of them, the slope of its memory by least squares and by how
        many its open files and its threads grew, in the medians of two halves: a checkpoint is written with more.
    """
    told: dict[str, Any] = {"processes": 0, "slope_mb_per_1000_iterations": None, "files_grown": 0, "threads_grown": 0}
    slopes = []
    for pid in dict.fromkeys(sample.pid for sample in samples):
        own = [sample for sample in samples if sample.pid == pid and sample.iteration]
        settled = np.array([sample[1:] for sample in own[len(own) // 3 :]], np.float64)
        if len(settled) < _MIN_SAMPLES or np.ptp(settled[:, 0]) < _MIN_ITERATIONS:
            continue
        told["processes"] += 1
        slopes.append(1000 * np.polyfit(settled[:, 0], settled[:, 1], 1)[0])
        half = len(settled) // 2
        grown = np.median(settled[half:, 2:], axis=0) - np.median(settled[:half, 2:], axis=0)
        for name, growth in zip(("files_grown", "threads_grown"), grown.tolist(), strict=True):
            told[name] = max(told[name], growth)
    if slopes:
        told["slope_mb_per_1000_iterations"] = round(max(slopes), 3)
    return told


def _is_finished(run: Path) -> bool:
    return (run / "checkpoints" / "last").is_file() and load_info(find_checkpoint(run, "last")).is_finished
