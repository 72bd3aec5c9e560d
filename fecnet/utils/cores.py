"""The CPU cores of this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Number of cores this process may use; on macOS and Windows, all cores of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
