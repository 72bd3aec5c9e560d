"""Several runs of one recipe: in parallel, gone on with after any end, and one that fails does not stop the others."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.survive import alive, assert_same, children
from fecnet.config.node import load_config
from fecnet.runs.listing import describe_run, find_runs
from fecnet.runs.training import train_run
from fecnet.studies.scheduler import PlannedRun, train_all
from fecnet.utils.program import run_program
from tests.forked import forked  # noqa: F401  (a fixture)
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)

LENGTH = 120
LONG = ("SOLVER.LENGTH", str(LENGTH), "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "8")  # a second: met in the middle
ENDS_S = 300  # a command that hangs fails after them


def _command(recipe, folder, log, *numbers):
    """What a command that trains runs with these seeds does, in a process of its own."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    runs = [PlannedRun(f"seed_{seed}", ("SEED", str(seed), *LONG)) for seed in numbers]
    code = run_program(lambda: train_all(recipe, runs, folder, jobs=2) or 0)
    sys.stdout.flush()
    sys.exit(code)


def start(recipe, folder, log, *numbers):
    """The command, forked: starting torch takes seconds."""
    command = multiprocessing.get_context("fork").Process(target=_command, args=(recipe, folder, log, *numbers))
    command.start()
    return command


def wait(command):
    command.join(ENDS_S)
    assert command.exitcode is not None, "still running"
    return command.exitcode


def wait_for_more(folder, command):
    """Wait until the command has started its runs, and the first of them has written one more checkpoint."""
    last = folder / "seed_1/checkpoints/last"
    ends = time.monotonic() + ENDS_S

    def wait_until(there):
        while not there():
            assert command.is_alive() and time.monotonic() < ends
            time.sleep(0.02)

    wait_until(lambda: children(command.pid))  # those of a command that was killed have left then
    before = last.read_text() if last.exists() else ""
    wait_until(lambda: last.exists() and last.read_text() not in ("", before))


def states(folder):
    return {run.name: (run.state.rstrip("?"), describe_run(run)[2]) for run in find_runs(folder)}


def seeds(*numbers):
    return [PlannedRun(f"seed_{seed}", ("SEED", str(seed))) for seed in numbers]


def test_runs_are_trained_and_not_again_and_one_that_fails_stops_no_other(recipe, tmp_path, capfd, request):
    folder = tmp_path / "many"
    train_all(recipe, seeds(1), folder)  # in a process that is started
    assert states(folder) == {"seed_1": ("finished", "6 / 6")}
    request.getfixturevalue("forked")
    bad = PlannedRun("bad", ("SOLVER.BATCH_SIZE", "4000"))
    with pytest.raises(ValueError) as error:
        train_all(recipe, [bad, *seeds(1, 2)], folder, jobs=2)
    assert str(error.value).startswith(f"{folder}: 1 of 3 runs failed, see bad.log (exit code 2); the first")
    assert "SOLVER.BATCH_SIZE: 4000" in str(error.value) and "\n" not in str(error.value)
    assert states(folder) == {f"seed_{seed}": ("finished", "6 / 6") for seed in (1, 2)}
    weights = {(folder / f"seed_{seed}/checkpoints/6/model.safetensors").read_bytes() for seed in (1, 2)}
    assert len(weights) == 2
    assert "done in" in (folder / "seed_1.log").read_text()
    said = capfd.readouterr()
    assert not said.out and "3/3" in said.err and "it/s" not in said.err  # the bar over the runs alone
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train_all(recipe, seeds(1, 2), folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("inline_runs")
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
        train_all(recipe, [PlannedRun(f"seed_{seed}", ("DEVICE", "auto")) for seed in (1, 2, 3)], folder, **options)
        return [(folder / f"seed_{seed}.log").read_text().split() for seed in (1, 2, 3)]

    assert given(tmp_path / "one") == [["8", "unset"]] * 3
    assert given(tmp_path / "three", jobs=4) == [["2", "unset"]] * 3  # three runs: a third of eight cores
    with pytest.raises(ValueError, match=r"^--devices 4,7: '4' cannot be used: torch finds no CUDA GPU"):
        given(tmp_path / "gpus", devices=("4", "7"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with pytest.raises(ValueError, match=r"^DEVICE: 'cpu', but --devices 4,7 asks for GPUs"):
        train_all(recipe, seeds(1), tmp_path / "gpus", devices=("4", "7"))  # the recipe says cpu
    first, second, third = given(tmp_path / "gpus", devices=("4", "7"))
    assert (first, second) == (["4", "4"], ["4", "7"]) and third in (first, second)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert given(tmp_path / "said", jobs=2) == [["3", "unset"]] * 3


@pytest.mark.usefixtures("forked")
def test_ended_in_the_middle_by_all_means_and_gone_on_with(recipe, tmp_path, monkeypatch):
    """Each end leaves no run behind, the same command goes on, and the weights are those of a run left alone.

    Killed, its runs leave by themselves, and the next command waits for that; one run that is killed is named and
    stops no other.
    """
    folder, log = tmp_path / "many", tmp_path / "log"
    for number, numbers in ((signal.SIGKILL, [1]), (signal.SIGTERM, [1]), (signal.SIGINT, [1, 2])):
        command = start(recipe, folder, log, *numbers)
        wait_for_more(folder, command)
        trainers = children(command.pid)
        assert trainers
        if number == signal.SIGINT:
            with (
                monkeypatch.context() as patched,
                pytest.raises(ValueError, match=f"{folder}: another command trains here; wait for it to end"),
            ):
                patched.setattr("fecnet.studies.scheduler._GRACE_S", 0.3)
                train_all(recipe, seeds(1), folder)
        os.kill(command.pid, number)
        if number == signal.SIGKILL:
            assert wait(command) == -signal.SIGKILL  # gone on with at once: the runs may still be saving
            continue
        assert wait(command) == 128 + number
        assert not any(alive(pid) for pid in trainers)
        said = log.read_text()
        assert f"{signal.Signals(number).name}: the runs have saved" in said
        assert f"of {len(numbers)} are finished; the same command goes on" in said

    command = start(recipe, folder, log, 1, 2)
    wait_for_more(folder, command)
    logs = {Path(f"/proc/{pid}/fd/1").readlink().name: pid for pid in children(command.pid)}
    os.kill(logs["seed_1.log"], signal.SIGKILL)
    assert wait(command) == 2
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("error:")]
    assert "1 of 2 runs failed, see seed_1.log (ended by SIGKILL)" in line
    assert states(folder)["seed_2"] == ("finished", f"{LENGTH} / {LENGTH}")

    assert wait(start(recipe, folder, log, 1, 2)) == 0, log.read_text()
    assert states(folder) == {f"seed_{seed}": ("finished", f"{LENGTH} / {LENGTH}") for seed in (1, 2)}
    assert (folder / "seed_1.log").read_text().count("resumed after iteration") >= 4
    for seed in ("1", "2"):
        whole = load_config(
            recipe, ["SEED", seed, *LONG, "OUTPUT_DIR", str(tmp_path / "whole"), "NAME", f"seed_{seed}"]
        )
        assert train_run(whole, recipe=recipe.stem) == 0
        assert_same(folder / f"seed_{seed}", tmp_path / "whole" / f"seed_{seed}")
