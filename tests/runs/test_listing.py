"""fecnet runs: each state of a run is a line, a damaged run too, and torch is not imported for it."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from fecnet.config.node import load_config
from fecnet.runs.listing import describe_run, find_runs, format_runs
from fecnet.runs.training import train_run
from tests.conftest import ROOT


@pytest.fixture
def result(recipe):
    """A folder with one finished run of 2 epochs of 5 iterations, that wrote long ago."""
    options = ["SOLVER.UNIT", "epoch", "SOLVER.LENGTH", "2", "EVAL.PERIOD", "1", "CHECKPOINT.KEEP", "0"]
    assert train_run(load_config(recipe, options), recipe="tiny") == 0
    folder = recipe.parent / "result"
    age(folder)
    return folder


def age(folder):
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))


def only(folder):
    (run,) = find_runs(folder)
    return run


def test_finished_with_best_and_data(result):
    run = only(result)
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(1e9))
    number = (result / "tiny" / "checkpoints" / "best").read_text().strip()
    meta = json.loads((result / "tiny" / "checkpoints" / number / "meta.json").read_text())
    best = f"{meta['accuracy']['splits']['val']['ALL']['percent']:.1f} % at {number}"
    assert describe_run(run) == ("tiny", "finished", "10 / 10", best, "tiny", date)


def test_stopped_and_perhaps_running(result):
    (result / "tiny" / "checkpoints" / "last").write_text("5\n")
    age(result)
    assert describe_run(only(result))[1:3] == ("stopped", "5 / 10")
    (result / "tiny" / "metrics.jsonl").touch()
    assert only(result).state == "running?"


def test_empty(result):
    shutil.rmtree(result / "tiny" / "checkpoints")
    assert only(result).state == "empty"
    (result / "not a run").mkdir()
    (result / "notes.txt").touch()
    assert len(find_runs(result)) == 1


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("last", "ten\n", "last: expected an iteration, found 'ten'"),
        ("last", "7\n", "7/meta.json: No such file or directory"),
        ("10/meta.json", '{"iteration": 10, "le', "10/meta.json: "),
        ("10/meta.json", '{"format": 1}', "10/meta.json: lacks 'iteration'; allowed: a whole number"),
        ("10/meta.json", "[]", "10/meta.json: not a checkpoint description: lacks 'format'"),
        ("10/trainer.pt", "", "10/trainer.pt: empty"),
        ("10/model.safetensors", None, "10/model.safetensors: No such file or directory"),
        ("best", "x", "best: expected an iteration, found 'x'"),
    ],
)
def test_a_damaged_run_is_a_line_and_the_others_stay(result, name, text, said):
    shutil.copytree(result / "tiny", result / "other")
    damage = result / "tiny" / "checkpoints" / name
    damage.unlink() if text is None else damage.write_text(text)
    damaged, whole = find_runs(result)
    assert (damaged.name, damaged.state, whole.state) == ("tiny", "damaged", "finished")
    assert said in damaged.problem and "\n" not in damaged.problem
    assert damaged.problem in format_runs([damaged, whole]).splitlines()[1]


@pytest.mark.slow
def test_the_command(result):
    code = (
        "import sys; from fecnet.cli.main import main; code = main(); assert 'torch' not in sys.modules; sys.exit(code)"
    )

    def command(folder):
        return subprocess.run(
            [sys.executable, "-c", code, "runs", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
        )

    header, line = command(result).stdout.splitlines()
    assert header.split() == ["run", "state", "iteration", "best", "data", "last", "checkpoint"]
    assert line.index("finished") == header.index("state") and line.index("10 / 10") == header.index("iteration")
    absent = command(result / "absent")
    assert absent.returncode == 2
    assert absent.stderr.startswith(f"error: {result}/absent: no such folder")
    (result / "nothing").mkdir()
    assert command(result / "nothing").stdout == f"{result}/nothing: no runs; train one with: fecnet train\n"
