"""Several benchmarks, each in a process of its own: what one leaves behind changes no other, and its end ends no other.

Otherwise threads and memory settings of one would stay for the next, and its peak memory would count for both.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import read


def run_each(names: Sequence[str], options: Sequence[str]) -> int:
    """Run them one after the other, all of them, and name those that failed.

    Args:
        names: of the benchmarks.
        options: of the command line, passed to each.

    Returns:
        The exit code: 1 if one failed, else 0.
    """
    failed = []
    for name in names:
        command = [sys.executable, "-m", "benchmarks", name, *options]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def estimate(names: Sequence[str], results: Path) -> str:
    """A table of how long each took when its record was made, and the sum; records made before it was kept: unknown.

    Args:
        names: of the benchmarks.
        results: folder of ``<name>.json``.
    """
    paths = {name: results / f"{name}.json" for name in names}
    taken = {name: read(path).get("wall_s") if path.is_file() else None for name, path in paths.items()}
    known = [seconds for seconds in taken.values() if seconds is not None]
    lines = [
        f"  {name:<14}{_duration(seconds) if seconds is not None else 'unknown'}" for name, seconds in taken.items()
    ]
    total = _duration(sum(known)) if known else "unknown"
    if 0 < len(known) < len(names):
        total += f", and {len(names) - len(known)} of unknown time"
    return "\n".join(
        [f"{len(names)} benchmarks, with the time that their last records took:", *lines, f"in all: {total}"]
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
