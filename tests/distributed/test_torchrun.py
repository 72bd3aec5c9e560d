"""Under a launcher: one rank that dies takes the others along, and what is said is said once."""

import os
import subprocess
import sys

import pytest

from fecnet.engine.checkpoint import find_checkpoint
from tests.conftest import ROOT
from tests.distributed.ranks import free_port, launch_environment
from tests.forked import forked  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("forked")  # test_installed.py starts them

CHILD = """
import os, signal, sys
import train
from fecnet.engine.stepper import Stepper
from fecnet.utils import comm

step, mode = Stepper.step, sys.argv.pop(1)

def step_then(self, batches, augment, iteration):
    step(self, batches, augment, iteration)
    if iteration == 3 and comm.rank() == 1:
        if mode == "raise":
            raise RuntimeError("broken on one rank")
        os.kill(os.getpid(), signal.SIGTERM)

Stepper.step = step_then
code = train.main()
sys.stdout.write(f"exit {code}\\n")
sys.exit(code)
"""


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")


def launch(folder, mode, *arguments, launcher=TORCHRUN):
    """Two ranks of a script that is train.py but for what happens at iteration 3 of rank 1."""
    script = folder / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *launcher, str(script), mode, *map(str, arguments)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_an_exception_on_one_rank_ends_the_launch(recipe):
    done = launch(recipe.parent, "raise", recipe, launcher=("fecnet.utils.launch", "2"))
    assert done.returncode == 1
    assert "RuntimeError: broken on one rank\nfault: this is a fault of fecnet" in done.stderr
    assert done.stderr.count("Traceback (most recent call last):") == 1  # none of the rank that is left alone
    assert done.stderr.count("fault: ") == 1
    assert find_checkpoint(recipe.parent / "result" / "tiny", "last").name == "2"


def test_a_signal_to_one_rank_ends_all_with_143_and_one_voice(recipe):
    done = launch(recipe.parent, "signal", recipe)
    assert done.returncode != 0
    # the launcher ends the others as soon as one has left, so only the first is sure to say its code
    assert "exit 143" in done.stdout
    for line in ("2 process(es)", "SIGTERM: saved iteration 4"):  # sent in 3: the ranks know of it one later
        assert done.stdout.count(line) == 1, done.stdout
    assert find_checkpoint(recipe.parent / "result" / "tiny", "last").name == "4"


def test_an_error_of_all_ranks_is_said_once(recipe):
    done = launch(recipe.parent, "signal", recipe, "SOLVER.BASE_RL", 1)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "SOLVER.BASE_RL" in errors[0]
    assert "exitcode  : 2" in done.stderr  # in the launcher's own report


def test_a_launch_without_its_peers_exits_with_2(recipe):
    environment = {**os.environ, **launch_environment(0, 3, free_port()), "FECNET_TIMEOUT_S": "2"}
    command = [sys.executable, str(ROOT / "train.py"), str(recipe)]
    done = subprocess.run(
        command, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 2
    said = "error: of 3 ranks these did not join within 2 s (FECNET_TIMEOUT_S): 1, 2"
    assert [line for line in done.stderr.splitlines() if line] == [said]
