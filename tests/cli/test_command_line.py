"""The commands as a user types them: one clear line and exit code 2 for what a user can cause, help that is quick."""

import re
import subprocess
import sys

import pytest

import inference
import train
from fecnet.cli.main import main
from tests.conftest import ROOT


def run(*command, **options):
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.mark.parametrize("script", ["train.py", "inference.py"])
def test_help_teaches(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout


def test_fecnet_help_and_version():
    assert "prepare" in run("-m", "fecnet", "--help").stdout
    assert re.fullmatch(r"fecnet \d+\.\d+\.\d+\n", run("-m", "fecnet", "--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train.py", "config/absent.yaml"],
            r"error: config/absent\.yaml: no such file, and no recipe of that name; shipped: .*\bdemo, ",
        ),
        (["inference.py", "OUTPUT_DIR", "/nowhere"], r"error: /nowhere: no run with a checkpoint here"),
        (["train.py", "DATA.PATH", "/nowhere", "DATA.SOURCE", ""], r"error: /nowhere: no packed data set here"),
        (["fecnet", "prepare", "ferplus", "/nowhere", "x"], r"error: /nowhere"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, said, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", arguments)
    assert {"train.py": train.main, "inference.py": inference.main, "fecnet": main}[arguments[0]]() == 2
    told = capsys.readouterr().err
    assert re.match(said, told) and told.count("\n") == 1, told


def test_a_mistake_leaves_a_process_with_2():
    done = run("train.py", "SOLVER.BASE_RL", "1")
    assert done.returncode == 2
    assert re.match(r"error: override: unknown key 'SOLVER\.BASE_RL'; did you mean", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
