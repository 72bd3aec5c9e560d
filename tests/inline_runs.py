"""Several runs trained inside this process, or in forks of it: each start of torch takes seconds."""

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fecnet.config.node import load_config
from fecnet.runs.training import train_run
from fecnet.studies import process_pool
from fecnet.studies.child import train_one
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


class Forked:
    """What ``subprocess.Popen`` gives, of a process of its own that has torch already."""

    def __init__(self, command, *, stdout, pass_fds, **_):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._train(command, reading, stdout.fileno(), pass_fds)
        os.close(reading)
        self.stdin = os.fdopen(writing, "wb")
        self.returncode = None

    @staticmethod
    def _train(command, stdin, log, pass_fds):
        """As a process that is started: a session of its own, no files but those that are given, signals that end."""
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            for file, number in ((stdin, 0), (log, 1), (log, 2)):
                os.dup2(file, number)
            kept = sorted(pass_fds)
            for first, end in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")], strict=True):
                os.closerange(first + 1, end)
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            code = run_program(lambda: train_one(*command[3:]))
        finally:
            os._exit(code)

    def poll(self):
        return self.wait(os.WNOHANG)

    def wait(self, options=0):
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def terminate(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


@pytest.fixture
def forked_runs(monkeypatch):
    """``train_all`` forks the processes that it would start."""
    monkeypatch.setattr(process_pool, "subprocess", SimpleNamespace(Popen=Forked, PIPE=None))
