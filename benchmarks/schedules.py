"""Two schedules of Deep-Emotion × 3 seeds × 30 epochs on two cores: wall time and result of ``fecnet compare``.

A missing data set must be prepared first: ``fecnet prepare fer2013 FER2013_FOLDER datasets/fer2013``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.demo import ROOT, run_commands
from fecnet.engine.checkpoint import find_checkpoint, load_info

REQUIRED_S = 1800.0  # most wall seconds of all six runs and the comparison
_EPOCHS, _SEEDS, _JOBS = 30, 3, 2
_DATA = ROOT / "datasets" / "fer2013"


def run(*, quick: bool) -> dict[str, Any]:
    """Train and compare; a quick run trains two runs of four iterations, and passes over data that are absent."""
    if not (_DATA / "dataset.json").is_file():
        if quick:
            print("datasets/fer2013 is absent: not measured")
            return {}
        raise SystemExit("datasets/fer2013 is absent: fecnet prepare fer2013 FER2013_FOLDER datasets/fer2013")
    length = ["SOLVER.LENGTH", str(_EPOCHS)]
    if quick:
        length = ["SOLVER.UNIT", "iteration", "SOLVER.LENGTH", "4", "EVAL.PERIOD", "0"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "schedules"
        command = ["-m", "fecnet", "compare", "config/fer2013_deep_emotion.yaml", str(folder), *length]
        command += ["--seeds", "1" if quick else str(_SEEDS), "--jobs", str(_JOBS)]
        for name in ("cosine", "step"):
            command += ["--setting", name, "SOLVER.SCHEDULE", name]
        wall, memory = run_commands([command])
        written = json.loads((folder / "comparison.json").read_text())
        seconds = {path.name: load_info(find_checkpoint(path, "last")).seconds for path in _runs(folder)}
    if not quick:
        print(f"two schedules × {_SEEDS} seeds × {_EPOCHS} epochs: {wall / 60:.1f} minutes (≤ {REQUIRED_S / 60:.0f})")
    return {
        "wall_s": round(wall, 1),
        "required_s": REQUIRED_S,
        "peak_memory_mb": round(memory),
        "training_s": seconds,
        "epochs": _EPOCHS,
        "jobs": _JOBS,
        "metric": written["metric"],
        "percent": {name: found["percent"] for name, found in written["settings"].items()},
        "differences": written["differences"],
        "split": written["split"],
    }


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if (path / "checkpoints").is_dir())
