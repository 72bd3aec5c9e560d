"""What a run records of itself for programs: ``metrics.jsonl`` and TensorBoard events."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fecnet.utils import comm
from fecnet.utils.errors import UserError
from fecnet.utils.files import replace_text


class MetricsFile:
    """``metrics.jsonl``: a JSON object a line, deterministic values only, so that a resumed run's file is bit-equal.

    Args:
        path: the file; rank 0 writes, other ranks hold a silent twin.
        iteration: lines after this iteration are cut off (0 for a new run).
    """

    def __init__(self, path: Path, iteration: int) -> None:
        self._path = path if comm.is_main() else None
        if self._path is not None and path.exists():
            kept = [line for line in path.read_text().splitlines(keepends=True) if _within(line, iteration)]
            replace_text(path, "".join(kept))

    def write(self, values: dict[str, Any]) -> None:
        """Append one line, in one system call."""
        if self._path is None:
            return
        line = json.dumps(values) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, each with an ``iteration``; a last one that is being written now is left out.

    Raises:
        UserError: a line that is none.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], start=1):
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not isinstance(values.get("iteration"), int):
            raise UserError(f"{path}:{number}: not a line of metrics with an 'iteration': {line[:60]!r}")
        found.append(values)
    return found


def _within(line: str, iteration: int) -> bool:
    """Whether a line is whole and not later than ``iteration``."""
    try:
        return line.endswith("\n") and json.loads(line)["iteration"] <= iteration
    except ValueError:
        return False


class TensorBoard:
    """TensorBoard events where tensorboard is installed and wanted; otherwise silent.

    Args:
        folder: for the event files.
        iteration: events after it, of a run that goes on from here, are hidden (0 for a new run).
        wanted: write them.
    """

    def __init__(self, folder: Path, iteration: int, *, wanted: bool) -> None:
        self._writer: Any = None
        if wanted and comm.is_main():
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._writer = SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)

    def write(self, values: dict[str, Any]) -> None:
        """Write the numbers of one ``metrics.jsonl`` line."""
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, (int, float)) and name != "iteration":
                self._writer.add_scalar(name, value, values["iteration"])

    def write_histogram(self, name: str, values: Any, iteration: int) -> None:
        """Write the distribution of ``values``, a tensor."""
        if self._writer is not None:
            self._writer.add_histogram(name, values, iteration)

    def close(self) -> None:
        """Flush what is buffered."""
        if self._writer is not None:
            self._writer.close()
