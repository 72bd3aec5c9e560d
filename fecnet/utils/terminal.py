"""Log lines for people: the standard logger ``fecnet``, shown on rank 0. Imports no torch, for a quick ``--help``."""

from __future__ import annotations

import logging
import os

from tqdm import tqdm


class _Terminal(logging.Handler):
    """Prints on rank 0, above a running progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ.get("RANK", "0") == "0":
            tqdm.write(self.format(record))


def log_to_terminal() -> None:
    """Show what fecnet logs from ``INFO`` on; without it, as inside another program, only warnings are shown."""
    package = logging.getLogger("fecnet")
    package.setLevel(logging.INFO)
    if not any(isinstance(handler, _Terminal) for handler in package.handlers):
        package.addHandler(_Terminal())
