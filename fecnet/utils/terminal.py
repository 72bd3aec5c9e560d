"""Terminal output of the standard logger ``fecnet``, on rank 0. Imports no torch, for a quick ``--help``."""

from __future__ import annotations

import logging
import os
from typing import TextIO

from tqdm import tqdm

from fecnet.utils.shown import printable


class _Terminal(logging.Handler):
    """Prints on rank 0, above a running progress bar."""

    file: TextIO | None = None  # standard output

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0":
            tqdm.write(printable(self.format(record)), file=self.file)


def log_to_terminal(file: TextIO | None = None) -> None:
    """Print fecnet's log records from level ``INFO``; without this, as inside another program, only warnings are shown.

    Args:
        file: where to print; None for standard output.
    """
    package = logging.getLogger("fecnet")
    package.setLevel(logging.INFO)
    terminal = next((handler for handler in package.handlers if isinstance(handler, _Terminal)), None)
    if terminal is None:
        terminal = _Terminal()
        package.addHandler(terminal)
    terminal.file = file
