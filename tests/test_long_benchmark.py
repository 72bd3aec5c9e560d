"""The long run that is disturbed: what is done to it, and what is called growth."""

import json
import os
import subprocess
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import long
from benchmarks.growth import sparse_set
from benchmarks.long import KINDS, Launch, Plan, Sample, disturb, flatness, look, read_samples
from benchmarks.survive import alive
from fecnet.data.packed import PackedDataset

PLAN = Plan(faces=64, triplets=200, length=100, save=50, every_s=0.1, pause_s=0.05, sample_s=0.02)
# As a launcher does: when one of its three ends, or it is told to, it ends the others.
LAUNCHER = "trap 'kill $(jobs -p)' TERM; sleep 60 & sleep 60 & sleep 60 & wait -n; kill $(jobs -p) 2>/dev/null; exit 1"


class Fake(Launch):
    """A launch of three processes that sleep; the fourth start finds that all is done."""

    starts = 0

    def start(self):
        self.starts += 1
        pointer = self.run / "checkpoints" / "last"
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.write_text(f"{self.starts}")
        self._began = f"{self.starts - 1}"
        command = LAUNCHER if self.starts < 4 else "exit 0"
        self.process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_run_is_killed_paused_and_restarted_in_turn(tmp_path, capsys):
    launch = Fake(tmp_path, tmp_path / "data", PLAN, "disturbed")
    first = launch.process.pid
    (tmp_path / "disturbed" / "metrics.jsonl").write_text('{"iteration": 50}\n{"iteration": 100}\n')
    disturb(launch, PLAN)
    events = [json.loads(line) for line in launch.events.read_text().splitlines()]
    assert [event["kind"] for event in events] == list(KINDS) and {event["at_iteration"] for event in events} == {100}
    assert launch.starts == 4 and not alive(first)
    assert events[1]["seconds"] >= PLAN.pause_s and capsys.readouterr().out.count("of 100: ") == 4
    samples = read_samples(tmp_path / "disturbed.jsonl")
    assert {sample.iteration for sample in samples} == {100}
    assert len({sample.pid for sample in samples}) == 9  # three ranks of three starts
    assert not any(alive(sample.pid) for sample in samples)


def test_a_run_is_left_alone_until_it_has_saved(tmp_path, capsys):
    """One that is killed before each of its checkpoints comes to no end."""
    launch = Fake(tmp_path, tmp_path / "data", PLAN, "disturbed")
    launch._began = "1"
    looks = []

    def watch(*, until_s):
        looks.append(until_s)
        launch._began = "1" if len(looks) < 4 else "0"
        return False

    launch.watch = watch
    assert not long._watch_alone(launch, PLAN, 0.5)
    assert looks == [0.5, 0.02, 0.02, 0.02]
    launch.close()


def test_a_run_that_fails_by_itself_ends_the_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(Fake, "start", lambda self: setattr(self, "process", subprocess.Popen(["false"])))
    with pytest.raises(SystemExit, match=r"whole: ended with 1; see .*whole\.log"):
        Fake(tmp_path, tmp_path, PLAN, "whole").watch(until_s=None)


def of_process(pid, count, memory, files=20, threads=5, step=100):
    """Samples in which memory grows as the function of the iteration says, after a start that takes some."""
    found = [Sample(pid, step * k, memory(step * k), files, threads) for k in range(1, count + 1)]
    return [sample._replace(memory_mb=10.0, files=3) if k < count // 4 else sample for k, sample in enumerate(found)]


def test_growth_is_that_of_the_worst_process_that_ran_long_enough():
    flat = of_process(1, 40, lambda iteration: 300.0)
    assert flatness(flat) == {
        "processes": 1,
        "slope_mb_per_1000_iterations": 0.0,
        "files_grown": 0,
        "threads_grown": 0,
    }
    leaking = of_process(2, 40, lambda iteration: 300 + iteration / 500)
    short = of_process(3, 12, lambda iteration: 5.0 * iteration)
    found = flatness([sample for group in zip(flat, leaking, strict=True) for sample in group] + short)
    assert (found["processes"], found["slope_mb_per_1000_iterations"]) == (2, 2.0)
    # more while a checkpoint is written is no growth; what stays is
    writing = [sample._replace(threads=21) if place % 5 == 0 else sample for place, sample in enumerate(flat)]
    assert flatness(writing)["threads_grown"] == 0
    found = flatness(flat[:26] + [sample._replace(files=22, threads=6) for sample in flat[26:]])
    assert (found["files_grown"], found["threads_grown"]) == (2, 1)
    assert flatness(short)["slope_mb_per_1000_iterations"] is None  # nothing to tell by


def test_a_process_is_looked_at_from_outside():
    sample = look(os.getpid(), 7)
    assert sample.iteration == 7 and sample.memory_mb > 10 and sample.files >= 3 and sample.threads >= 1
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert look(ended.pid, 7) is None


def test_there_is_something_to_learn_in_a_sparse_set(tmp_path):
    dataset = PackedDataset(sparse_set(tmp_path / "set", 64, 200, written=16))
    told = dataset.faces_NHWC.reshape(64, -1).any(axis=1)
    assert np.flatnonzero(told).tolist() == list(range(0, 64, 4))
    faces_T3 = dataset.triplets("train").faces_T3
    assert told[faces_T3[:, 1:]].all() and not told[faces_T3[:, 0]].all()


def test_the_length_is_what_is_done_in_the_hours_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(long, "sparse_set", lambda path, *_, **__: path)
    trial = SimpleNamespace(watch=lambda until_s: None, close=lambda: None)
    monkeypatch.setattr(long, "Launch", lambda *_: trial)
    monkeypatch.setattr(long, "find_checkpoint", lambda *_: None)
    monkeypatch.setattr(long, "load_info", lambda _: SimpleNamespace(iteration=1000, seconds=50.0))
    plan = long._planned(tmp_path, 2.0)
    assert (plan.faces, plan.triplets, plan.length) == (1_000_000, 10_000_000, 144_000)
    kept = json.loads((tmp_path / "plan.json").read_text())
    assert kept == {"hours": 2.0, **asdict(plan)} and replace(plan) == long._planned(tmp_path, 2.0)
    with pytest.raises(SystemExit, match="of another number of hours; remove it, or give --hours as it was given"):
        long._planned(tmp_path, 1.0)
