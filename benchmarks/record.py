"""The record of a measurement: a dated JSON with command, commit, hardware and results."""

from __future__ import annotations

import datetime
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fecnet.utils.files import replace_json

RESULTS = Path(__file__).parent / "results"


def record(name: str, measured: dict[str, Any], hardware: dict[str, Any], wall_s: float) -> None:
    """Write ``results/<name>.json``.

    Args:
        name: of the benchmark.
        measured: what its ``run`` returned.
        hardware: ``provenance()`` before the run.
        wall_s: seconds that the run took, from which the time of the next one is estimated.
    """
    replace_json(
        RESULTS / f"{name}.json",
        {
            "benchmark": name,
            "command": f"python -m benchmarks {' '.join(sys.argv[1:])}".strip(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "hardware": hardware,
            "wall_s": round(wall_s, 1),
            "measured": measured,
        },
    )


def read(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        ValueError: a JSON file that is no record of a measurement.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    lacking = {"command", "date", "hardware", "measured"} - set(found)
    if lacking:
        raise ValueError(f"{path}: not a record of a measurement: lacks {', '.join(sorted(lacking))}")
    return dict(found)


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}
