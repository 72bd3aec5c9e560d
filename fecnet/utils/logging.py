"""Metrics of a run in machine-readable form: ``metrics.jsonl`` and TensorBoard events."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from fecnet.utils import comm
from fecnet.utils.files import replace_text
from fecnet.utils.in_place import flush_folder

logger = logging.getLogger(__name__)


class MetricsFile:
    """``metrics.jsonl``: one JSON object per line, deterministic values only, so that resumed runs write equal files.

    Args:
        path: the file; only rank 0 writes.
        iteration: lines after this iteration are removed (0 for a new run).
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

    def flush(self) -> None:
        """Flush what was written to disk, before a checkpoint says that the run has come so far."""
        if self._path is not None and self._path.exists():
            flush_folder(self._path)
            flush_folder(self._path.parent)


def _within(line: str, iteration: int) -> bool:
    """Whether a line is complete and not later than ``iteration``."""
    try:
        return line.endswith("\n") and json.loads(line)["iteration"] <= iteration
    except ValueError:
        return False


class TensorBoard:
    """TensorBoard events, where tensorboard is installed and ``wanted``; otherwise writes nothing.

    Args:
        folder: for the event files.
        iteration: of a resumed run; later events are hidden (0 for a new run).
        wanted: write them.
    """

    def __init__(self, folder: Path, iteration: int, *, wanted: bool) -> None:
        self._writer: Any = None
        if wanted and comm.is_main():
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                logger.info(f"no events in {folder}: they need tensorboard; install it with: pip install 'fecnet[viz]'")
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
        """Flush buffered events."""
        if self._writer is not None:
            self._writer.close()
