"""The record of a measurement: a dated JSON with command, commit, hardware and results."""

from __future__ import annotations

import datetime
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fecnet.utils.files import replace_json

RESULTS = Path(__file__).parent / "results"


def record(name: str, measured: dict[str, Any], hardware: dict[str, Any]) -> None:
    """Write ``results/<name>.json``."""
    replace_json(
        RESULTS / f"{name}.json",
        {
            "benchmark": name,
            "command": f"python -m benchmarks {' '.join(sys.argv[1:])}".strip(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "hardware": hardware,
            "measured": measured,
        },
    )


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}
