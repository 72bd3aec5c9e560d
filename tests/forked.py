"""Python programs that are forked from this process, which has torch already, instead of started: each start of torch
takes seconds. All else is as of a process that is started: arguments, environment, files, signals, session."""

import inspect
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest


class Forked(subprocess.Popen[Any]):
    """A process of this Python, forked; others are started, and so is Python with ``-P``, which has another fecnet."""

    def _execute_child(self, args: Any, *others: Any) -> Any:
        given = inspect.signature(super()._execute_child).bind(args, *others).arguments  # type: ignore[misc]
        if Path(args[0]) != Path(sys.executable) or "-P" in args:
            return super()._execute_child(args, *others)  # type: ignore[misc]
        self.pid = os.fork()
        if not self.pid:
            self._be_child(**given)
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        return self._close_pipe_fds(*(given[name] for name in ends))  # type: ignore[attr-defined]

    @staticmethod
    def _be_child(
        *,
        args: Any,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        p2cread: int,
        c2pwrite: int,
        errwrite: int,
        start_new_session: bool,
        **_: Any,
    ) -> None:
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if start_new_session:
                os.setsid()
            for number, file in enumerate((p2cread, c2pwrite, errwrite)):
                if file != -1:
                    os.dup2(file, number)
            kept = sorted(pass_fds)
            for first, end in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")], strict=True):
                os.closerange(first + 1, end)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            os.chdir(cwd or ".")
            if env is not None:
                os.environ.clear()
                os.environ.update(env)
            code = _run([word for word in map(str, args[1:]) if word != "-u"])
        finally:
            os._exit(code)


def _run(words: list[str]) -> Any:
    """What ``python`` does with its arguments; the exit code."""
    code: Any
    try:
        match words:
            case ["-c", source, *arguments]:
                sys.argv = ["-c", *arguments]
                exec(source, {"__name__": "__main__"})
            case ["-m", module, *arguments]:
                sys.argv = [module, *arguments]
                sys.modules.pop(module, None)  # else runpy warns
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case [script, *_]:
                sys.argv = words
                sys.path.insert(0, str(Path(script).resolve().parent))
                runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    return code


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every start of a Python program is a fork, those of torchrun's ranks too."""
    import torch._dynamo  # noqa: F401  (once, for all optimizers)
    from torch.distributed import run  # noqa: F401  (once, for all launchers)
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    monkeypatch.setattr(subprocess, "Popen", Forked)
    monkeypatch.setattr(subprocess_handler, "Popen", Forked)
