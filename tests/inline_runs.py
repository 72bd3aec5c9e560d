"""Several runs trained inside this process: each start of torch takes seconds."""

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from fecnet.config.node import load_config
from fecnet.runs.training import train_run
from fecnet.studies import process_pool
from fecnet.utils.program import run_program


class Trained:
    """What ``subprocess.Popen`` gives, of a training that has ended."""

    def __init__(self, command, *, stdout, **_):
        recipe, *overrides = command[3:]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self.returncode = run_program(
                lambda: train_run(load_config(recipe, overrides), recipe=Path(recipe).stem, resume="auto")
            )
        self.stdin = io.BytesIO()
        stdout.write(said.getvalue().encode())

    def poll(self):
        return self.returncode

    wait = poll

    def terminate(self):
        pass


@pytest.fixture
def inline_runs(monkeypatch):
    """``train_all`` trains in this process."""
    monkeypatch.setattr(process_pool, "subprocess", SimpleNamespace(Popen=Trained, PIPE=None))
