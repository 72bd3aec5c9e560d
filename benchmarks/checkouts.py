"""Two checkouts of fecnet beside each other: their commits, and processes that do as they are asked, in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.demo import ROOT

# the commands of a checkout, also of one in which they stood elsewhere: ``python -P -c COMMAND train …``
COMMAND = (
    "import sys\ntry: from fecnet.cli.main import main\nexcept ImportError: from fecnet.cli import main\n"
    "if __name__ == '__main__': sys.exit(main())"
)


def both(before: str) -> dict[str, Path]:
    """Folder by side, ``before`` and ``now``; without a folder this checkout is both."""
    return {"before": Path(before).resolve() if before else ROOT, "now": ROOT}


def commits(sides: dict[str, Path]) -> dict[str, str]:
    """Commit by side; told too, since a measurement takes minutes."""
    found = {name: commit(path) for name, path in sides.items()}
    print("; ".join(f"{name}: {of}" for name, of in found.items()), flush=True)
    return found


class Worker:
    """A process with the fecnet of a checkout, which answers each line in one line of JSON.

    Args:
        script: what it runs.
        checkout: of fecnet.
        arguments: of the script.
        threads: of torch.
    """

    def __init__(self, script: Path, checkout: Path, arguments: Sequence[str], threads: int) -> None:
        self._checkout = checkout
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), *arguments],
            env=environment(checkout, threads),
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> Any:
        """The answer to a line.

        Raises:
            SystemExit: the process ended instead; it has said why.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended: there is no answer
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._checkout}: its process ended without an answer, with {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def environment(checkout: Path, threads: int) -> dict[str, str]:
    """Of a process that imports the fecnet of a checkout."""
    return {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}


def commit(checkout: Path) -> str:
    """Of a checkout; empty where it is none."""
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()
