"""FERPlus triplets on this machine: config/ferplus.yaml, an untrained net and the split-half agreement.

A missing data set must be prepared first: ``fecnet prepare ferplus FER2013_FOLDER datasets/ferplus``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.demo import ROOT, run_commands
from fecnet.engine.checkpoint import find_checkpoint, load_info


def run(*, quick: bool) -> dict[str, Any]:
    """Train and measure; without the data set a quick run skips it."""
    if not (ROOT / "datasets" / "ferplus" / "dataset.json").is_file():
        if quick:
            print("datasets/ferplus is absent: not measured")
            return {}
        raise SystemExit("datasets/ferplus is absent: fecnet prepare ferplus FER2013_FOLDER datasets/ferplus")
    with tempfile.TemporaryDirectory() as folder:
        where = ["OUTPUT_DIR", folder, "NAME", "ferplus"]
        short = ["SOLVER.LENGTH", "2"] if quick else []
        wall, memory = run_commands(
            [
                ["train.py", "config/ferplus.yaml", *where, *short],
                ["inference.py", f"{folder}/ferplus", "--baselines"],
            ]
        )
        written = json.loads(Path(folder, "ferplus/evaluation/triplets.json").read_text())
        seconds = load_info(find_checkpoint(Path(folder, "ferplus"), "last")).seconds
    percent = {
        split: {name: {row: cell["percent"] for row, cell in rows.items()} for name, rows in table.items()}
        for split, table in written["splits"].items()
    }
    half = {split: written["coverage"]["split_half_agreement"][split]["ALL"]["percent"] for split in percent}
    return {
        "wall_s": round(wall, 1),
        "training_s": seconds,
        "peak_memory_mb": round(memory),
        "percent": percent,
        "split_half_agreement_all": half,
        "seed": 0,
    }
