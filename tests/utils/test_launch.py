"""One process per device: what train.sh starts, and that inference.py --nproc gives the same table and exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import inference
from fecnet.config.node import load_config
from fecnet.runs.training import train_run
from tests.conftest import ROOT
from tests.forked import forked  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("forked")  # test_installed.py starts them

STUB = """#!/usr/bin/env bash
if [ "$1" = -c ]; then echo "$GPUS"; else echo "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES $*"; fi
"""


def run(*command, **environment):
    cleaned = {name: value for name, value in os.environ.items() if name != "LOCAL_RANK"} | environment
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=cleaned, check=False)


@pytest.fixture
def python(tmp_path):
    """A Python that says how it was called."""
    path = tmp_path / "python"
    path.write_text(STUB)
    path.chmod(0o755)
    return str(path)


LAUNCH = "-m fecnet.utils.launch"


@pytest.mark.parametrize(
    ("arguments", "gpus", "expected"),
    [
        (["-d", "0,1", "a.yaml", "SEED", "1"], 2, f"CUDA_VISIBLE_DEVICES=0,1 {LAUNCH} 2 train.py a.yaml SEED 1"),
        (["-d", "3"], 8, "CUDA_VISIBLE_DEVICES=3 train.py"),
        (["-d", "cpu", "a.yaml"], 8, "CUDA_VISIBLE_DEVICES= train.py a.yaml"),
        (["-d", "cpu", "-n", "2", "a.yaml"], 8, f"CUDA_VISIBLE_DEVICES= {LAUNCH} 2 train.py a.yaml"),
        (["a.yaml"], 4, f"CUDA_VISIBLE_DEVICES=0,1,2,3 {LAUNCH} 4 train.py a.yaml"),
        ([], 1, "CUDA_VISIBLE_DEVICES=0 train.py"),
        ([], 0, "CUDA_VISIBLE_DEVICES= train.py"),
    ],
)
def test_train_sh_starts_a_process_per_device(python, arguments, gpus, expected):
    done = run("bash", "train.sh", *arguments, PYTHON=python, GPUS=str(gpus))
    assert (done.returncode, done.stdout.strip()) == (0, expected)


def test_inference_sh_is_the_same_for_inference(python):
    done = run("bash", "inference.sh", "-d", "0,1", "result/demo", PYTHON=python, GPUS="2")
    assert done.stdout.strip() == f"CUDA_VISIBLE_DEVICES=0,1 {LAUNCH} 2 inference.py result/demo"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "gpu0"], "error: -d gpu0: expected GPU numbers such as 0,1, or cpu"),
        (["-d", "0,"], "error: -d 0,: expected GPU numbers such as 0,1, or cpu"),
        (["-d"], "error: -d nothing: expected GPU numbers such as 0,1, or cpu"),
        (["-d", "0,1", "-n", "2"], "error: -n 2: expected only after -d cpu; each GPU gets one process"),
        (["-n", "2"], "error: -n 2: expected only after -d cpu; each GPU gets one process"),
        (["-d", "cpu", "-n", "0"], "error: -n 0: expected a number of processes, 1 or more"),
        (["-d", "0,2"], "error: -d 0,2: GPU 2 is not here: torch finds 2 (0,1)"),
        (["-d", "1,1"], "error: -d 1,1: GPU 1 twice; each gets one process"),
    ],
)
def test_train_sh_refuses_in_one_line(python, arguments, said):
    done = run("bash", "train.sh", *arguments, PYTHON=python, GPUS="2")
    assert (done.returncode, done.stderr.strip(), done.stdout) == (2, said, "")


def test_train_sh_starts_nothing_on_the_cpu_of_a_machine_without_the_gpus_asked_for(python):
    done = run("bash", "train.sh", "-d", "0", PYTHON=python, GPUS="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "error: -d 0: GPU 0 is not here: torch finds 0"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-d", "1"], "CUDA_VISIBLE_DEVICES=5 train.py"),
        (["-d", "01,0"], f"CUDA_VISIBLE_DEVICES=5,3 {LAUNCH} 2 train.py"),
        ([], f"CUDA_VISIBLE_DEVICES=3,5 {LAUNCH} 2 train.py"),
    ],
)
def test_train_sh_counts_the_gpus_that_a_job_was_given(python, arguments, expected):
    done = run("bash", "train.sh", *arguments, PYTHON=python, GPUS="2", CUDA_VISIBLE_DEVICES="3,5")
    assert (done.returncode, done.stdout.strip()) == (0, expected)


def test_inference_on_two_processes_gives_the_same_table_and_embeddings(recipe, monkeypatch, capsys):
    assert train_run(load_config(recipe, ["SOLVER.LENGTH", "1"]), recipe="tiny") == 0
    folder = recipe.parent / "result" / "tiny"
    found = []
    capsys.readouterr()
    for nproc in ("1", "2"):
        words = ["inference.py", str(folder), "--nproc", nproc, "EVAL.BATCH_SIZE", "16"]
        if nproc == "1":  # in this process: starting torch takes seconds
            monkeypatch.setattr(sys, "argv", words)
            assert inference.main() == 0
            said = capsys.readouterr().out
        else:
            done = run(sys.executable, *words)
            assert done.returncode == 0, done.stderr
            said = done.stdout
        written = json.loads((folder / "evaluation" / "triplets.json").read_text())
        assert written.pop("provenance")["world_size"] == int(nproc)
        assert written.pop("command") == f"python inference.py {folder} --nproc {nproc} EVAL.BATCH_SIZE 16"
        assert written.pop("date")
        with np.load(folder / "evaluation" / "embeddings.npz") as file:
            found.append((said, written, file["embedding"]))
    (printed_1, table_1, embedding_1), (printed_2, table_2, embedding_2) = found
    assert printed_1 == printed_2
    assert table_1 == table_2
    np.testing.assert_array_equal(embedding_1, embedding_2)


def test_nproc_passes_the_exit_code_on(tmp_path):
    done = run(sys.executable, "inference.py", str(tmp_path), "--nproc", "2")
    assert done.returncode == 2
    assert {line.split(":")[0] for line in done.stderr.splitlines()} == {"error"}
    assert f"{tmp_path}: no checkpoint here" in done.stderr


def test_nproc_is_refused_where_it_means_nothing():
    done = run(sys.executable, "inference.py", "--nproc", "0")
    assert (done.returncode, done.stderr) == (2, "error: --nproc 0: expected 1 or more\n")
    done = run(sys.executable, "inference.py", "--nproc", "2", LOCAL_RANK="0")
    assert done.returncode == 2
    assert "already a process of torchrun" in done.stderr


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("import os, sys; sys.exit(7 if os.environ['RANK'] == '1' else 0)", 7, ""),
        (
            "import os; os.environ['RANK'] == '1' and os.kill(os.getpid(), 9)",
            137,
            "process 1 of 2 was terminated by SIGKILL",
        ),
        ("import sys; assert sys.argv[1:] == ['--nproc', '1', '--x']", 0, ""),
    ],
)
def test_launch_leaves_as_its_processes_left(tmp_path, script, code, said):
    path = tmp_path / "script.py"
    path.write_text(script)
    done = run(sys.executable, "-m", "fecnet.utils.launch", "2", str(path), "--nproc", "1", "--x")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
