"""A study that is served by a process of its own, which may be killed and started again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fecnet.web.server import bind

ROOT = Path(__file__).parents[1]
_START_S = 60.0


class Server:
    """``fecnet rate serve`` of a study at a free port.

    Args:
        study: the folder.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        with bind("127.0.0.1", 0) as free:
            self.port: int = free.getsockname()[1]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["rate", "serve", str(self._study), "--port", str(self.port)]
        process = subprocess.Popen(
            [sys.executable, "-m", "fecnet", *words], cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ
        )
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return process
            time.sleep(0.02)
        process.kill()
        raise RuntimeError("the server did not begin to listen")

    def kill_and_start(self) -> None:
        """Kill it with -9, and start another one."""
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def memory_mb(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.terminate()
        self._process.wait(_START_S)


@contextlib.contextmanager
def serving(study: Path) -> Iterator[Server]:
    """A server until the end of the block."""
    server = Server(study)
    try:
        yield server
    finally:
        server.stop()
