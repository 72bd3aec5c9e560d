"""A command of fecnet in a forked child, with its system calls listed by strace, or made to fail by it.

Commands are forked from this process, which has imported them, so that thousands of them take minutes.
"""

from __future__ import annotations

import io
import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch._dynamo  # noqa: F401  (imported once, for all children)
from tqdm import tqdm

from fecnet.cli.main import main
from fecnet.engine.checkpointer import load_weights  # noqa: F401  (as above)
from tests.forked import Forked

_MOST_S = 300.0  # a command hangs that takes longer; on a busy machine it takes a minute
_MOST_SAID = 1 << 20  # bytes of what a command says


class Ended(NamedTuple):
    """How a command ended: its exit code (negative: the signal), what it said, and the calls that were traced."""

    code: int
    said: str
    calls: tuple[str, ...] = ()


def execute(words: Sequence[str], folder: Path, *, trace: str = "", inject: str = "", paths: bool = False) -> Ended:
    """Run a command in a forked child.

    Args:
        words: of ``fecnet``.
        folder: that it is run in.
        trace: calls that are listed; empty for none.
        inject: which of them fails, and how, as strace takes it.
        paths: list the path of each open file beside its number.
    """
    log = folder.with_suffix(".strace")
    with mmap.mmap(-1, _MOST_SAID) as said:  # shared with the child: what it says is no call that could fail
        child = os.fork()
        if not child:
            _be_child(words, folder, said, traced=bool(trace))
        tracer = _trace(child, trace, inject, log, paths=paths) if trace else None
        code = _wait(child)
        text = said[:].rstrip(b"\0").decode(errors="replace")
    if tracer is None:
        return Ended(code, text)
    tracer.wait(_MOST_S)
    return Ended(code, text, tuple(log.read_text(errors="replace").splitlines()))


def _trace(child: int, calls: str, inject: str, log: Path, *, paths: bool) -> subprocess.Popen[bytes]:
    """Attach strace to a child that waits for it."""
    os.waitpid(child, os.WUNTRACED)
    options = ["-e", f"inject={calls}{inject}"] if inject else []
    options += ["-y", "-s", "0"] if paths else []
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", str(log), "-e", f"trace={calls}", *options, "-p", str(child)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + _MOST_S
    while "TracerPid:\t0" in Path(f"/proc/{child}/status").read_text():
        if time.monotonic() > end:
            raise SystemExit("strace does not attach; may this user trace processes?")
        time.sleep(0.002)
    os.kill(child, signal.SIGCONT)
    return tracer


def _be_child(words: Sequence[str], folder: Path, said: mmap.mmap, *, traced: bool) -> None:
    code, text = 1, io.StringIO()
    try:
        os.chdir(folder)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        sys.stdout = sys.stderr = text
        subprocess.Popen = Forked  # type: ignore[misc]  # what it starts is traced too, and starts at once
        tqdm.monitor_interval = 0  # a thread that would be forked with them
        if traced:
            os.kill(os.getpid(), signal.SIGSTOP)
        code = main(list(words))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc(file=text)
    finally:
        content = text.getvalue().encode()[-_MOST_SAID:]
        said[: len(content)] = content
        os._exit(code)


def _wait(child: int) -> int:
    """The exit code; of a child that hangs, after killing it, that of SIGKILL."""
    end = time.monotonic() + _MOST_S
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
