"""Several runs of one recipe: in parallel, gone on with after any end, and one that fails does not stop the others."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.survive import alive, assert_same, children, wait_for
from fecnet.runs.listing import find_runs
from fecnet.studies.many_runs import PlannedRun, train_all
from tests.conftest import ROOT

# long enough to be met in the middle: some 20 ms an iteration
COMMAND = """
import sys
from pathlib import Path
from fecnet.utils.program import run_program
from fecnet.studies.many_runs import PlannedRun, train_all
runs = [PlannedRun(f"seed_{seed}", ("SEED", str(seed), "SOLVER.LENGTH", "150", "EVAL.PERIOD", "0")) for seed in (1, 2)]
sys.exit(run_program(lambda: train_all(Path(sys.argv[1]), runs, Path(sys.argv[2]), jobs=2) or 0))
"""


def start(recipe, folder):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(recipe), str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def states(folder):
    return {run.name: (run.state.rstrip("?"), run.iteration) for run in find_runs(folder)}


def seeds(*numbers):
    return [PlannedRun(f"seed_{seed}", ("SEED", str(seed))) for seed in numbers]


def test_runs_are_trained_and_not_again(recipe, tmp_path, capfd):
    folder = tmp_path / "many"
    train_all(recipe, seeds(1, 2, 3), folder, jobs=2)
    assert states(folder) == {f"seed_{seed}": ("finished", "6 / 6") for seed in (1, 2, 3)}
    weights = {(folder / f"seed_{seed}/checkpoints/6/model.safetensors").read_bytes() for seed in (1, 2, 3)}
    assert len(weights) == 3
    assert "done in" in (folder / "seed_1.log").read_text()
    said = capfd.readouterr()
    assert not said.out and "3/3" in said.err and "it/s" not in said.err  # the bar over the runs alone
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train_all(recipe, seeds(1, 2, 3), folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_longer_runs_go_on_and_other_settings_are_refused(recipe, tmp_path):
    train_all(recipe, seeds(1), tmp_path / "many")
    longer = PlannedRun("seed_1", ("SEED", "1", "SOLVER.LENGTH", "8"))
    train_all(recipe, [longer], tmp_path / "many")
    assert states(tmp_path / "many") == {"seed_1": ("finished", "8 / 8")}
    with pytest.raises(ValueError, match=r"seed_1: SOLVER.LENGTH 8 there, 2 given; give another folder"):
        train_all(recipe, [PlannedRun("seed_1", ("SEED", "1", "SOLVER.LENGTH", "2"))], tmp_path / "many")
    other = PlannedRun("seed_1", ("SEED", "1", "SOLVER.LENGTH", "8", "SOLVER.BASE_LR", "0.5"))
    with pytest.raises(ValueError, match=r"another 'SOLVER.BASE_LR': 0.001 there, 0.5 given; give another folder"):
        train_all(recipe, [*seeds(2), other], tmp_path / "many")
    assert not (tmp_path / "many" / "seed_2").exists()  # found before anything is trained


def test_a_run_that_fails_does_not_stop_the_others(recipe, tmp_path):
    folder = tmp_path / "many"
    bad = PlannedRun("bad", ("SOLVER.BATCH_SIZE", "4000"))
    with pytest.raises(ValueError) as error:
        train_all(recipe, [bad, *seeds(1)], folder)
    assert str(error.value).startswith(f"{folder}: 1 of 2 runs failed, see bad.log (exit code 2); the first")
    assert "SOLVER.BATCH_SIZE: 4000" in str(error.value) and "\n" not in str(error.value)
    assert states(folder)["seed_1"] == ("finished", "6 / 6")


def test_wrong_arguments_are_one_line(recipe, tmp_path, monkeypatch):
    for runs, jobs, said in (
        (seeds(1), 0, "--jobs 0: expected 1 or more"),
        (seeds(1, 1), 1, "seed_1, seed_1: expected names of folders that differ"),
        ([PlannedRun("a/b")], 1, "a/b: expected names"),
        ([PlannedRun("a", ("SOLVER.LENTH", "1"))], 1, "did you mean 'SOLVER.LENGTH'"),
        ([PlannedRun("a", ("DATA.PATH", "nowhere"))], 1, "nowhere: no packed data set here"),
    ):
        with pytest.raises(ValueError, match=said):
            train_all(recipe, runs, tmp_path / "many", jobs=jobs)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="not by torchrun"):
        train_all(recipe, seeds(1), tmp_path / "many")
    assert not (tmp_path / "many").exists()


def test_cores_and_gpus_are_shared_out(recipe, tmp_path, monkeypatch):
    """What each process is given: ``sys.executable`` writes its environment instead of training."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS ${CUDA_VISIBLE_DEVICES-unset}"; sleep 0.3\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def given(folder, **options):
        train_all(recipe, seeds(1, 2, 3), folder, **options)
        return [(folder / f"seed_{seed}.log").read_text().split() for seed in (1, 2, 3)]

    assert given(tmp_path / "one") == [["8", "unset"]] * 3
    assert given(tmp_path / "three", jobs=4) == [["2", "unset"]] * 3  # three runs: a third of eight cores
    first, second, third = given(tmp_path / "gpus", devices=("4", "7"))
    assert (first, second) == (["4", "4"], ["4", "7"]) and third in (first, second)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert given(tmp_path / "said", jobs=2) == [["3", "unset"]] * 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_in_the_middle_and_gone_on_with(recipe, tmp_path, number):
    """Killed too, its runs leave by themselves, and the same command waits for that and ends with the same weights."""
    folder = tmp_path / "many"
    command = start(recipe, folder)
    for seed in (1, 2):
        wait_for(folder / f"seed_{seed}/checkpoints/last", command)
    trainers = children(command.pid)
    assert len(trainers) == 2
    command.send_signal(number)
    said, errors = command.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert command.returncode == -signal.SIGKILL
        again = start(recipe, folder)  # at once: while the others may still be saving
    else:
        assert command.returncode == 128 + number
        assert f"{number.name}: the runs have saved, 0 of 2 are finished; the same command goes on" in said
        assert not any(alive(pid) for pid in trainers)
        again = start(recipe, folder)
    said, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert states(folder) == {f"seed_{seed}": ("finished", "150 / 150") for seed in (1, 2)}
    assert "going on after iteration" in (folder / "seed_1.log").read_text()
    assert not any(alive(pid) for pid in trainers)
    if number == signal.SIGKILL:
        whole = tmp_path / "whole"
        train_all(recipe, [PlannedRun("seed_1", ("SEED", "1", "SOLVER.LENGTH", "150", "EVAL.PERIOD", "0"))], whole)
        assert_same(folder / "seed_1", whole / "seed_1")


def test_a_folder_in_use_is_refused(recipe, tmp_path, monkeypatch):
    folder = tmp_path / "many"
    command = start(recipe, folder)
    wait_for(folder / "seed_1/checkpoints/last", command)
    monkeypatch.setattr("fecnet.studies.many_runs._LEAVE_S", 0.3)
    began = time.monotonic()
    with pytest.raises(ValueError, match=f"{folder}: another command trains here; wait for it to end"):
        train_all(recipe, seeds(1), folder)
    assert time.monotonic() - began < 5
    command.terminate()
    command.communicate(timeout=60)


def test_a_run_that_is_killed_is_named(recipe, tmp_path):
    folder = tmp_path / "many"
    command = start(recipe, folder)
    wait_for(folder / "seed_1/checkpoints/last", command)
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2] for pid in children(command.pid)}
    os.kill(next(pid for pid, name in names.items() if name == b"seed_1"), signal.SIGKILL)
    _, errors = command.communicate(timeout=120)
    assert command.returncode == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert "1 of 2 runs failed, see seed_1.log (ended by SIGKILL)" in line
    assert states(folder)["seed_2"][0] == "finished"
