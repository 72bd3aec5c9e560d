"""Cross-validation on CK+ under three protocols: the effect of subjects shared between training and test.

The published protocol assigns consecutive files of a class to a fold, so that frames of a sequence mostly stay
together: it leaks identities with other expressions, not near-duplicate frames. This need not help, and it harms a
net that confuses identity with expression.

A missing data set must be prepared first: ``fecnet prepare ckplus CKPLUS_FOLDER datasets/ckplus --size 48 --grey``.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.demo import ROOT, run_commands
from fecnet.evaluation.classification import METRICS

PROTOCOLS = ("published", "corrected", "subject")  # the last is the honest one


def run(*, quick: bool) -> dict[str, Any]:
    """Train and measure each protocol; without the data set a quick run skips it."""
    if not (ROOT / "datasets" / "ckplus" / "dataset.json").is_file():
        if quick:
            print("datasets/ckplus is absent: not measured")
            return {}
        raise SystemExit(
            "datasets/ckplus is absent: fecnet prepare ckplus CKPLUS_FOLDER datasets/ckplus --size 48 --grey"
        )
    jobs = os.cpu_count() or 1
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for by in PROTOCOLS:
            command = ["-m", "fecnet", "folds", "config/ckplus_cpu.yaml", "OUTPUT_DIR", folder, "NAME", by]
            short = ["SOLVER.LENGTH", "1"] if quick else []
            which = ["--fold", "1"] if quick else []
            wall, _ = run_commands([[*command, *short, "--by", by, "--jobs", str(jobs), *which]])
            written = json.loads(Path(folder, by, f"folds{'_1' if quick else ''}.json").read_text())
            found[by] = {"wall_s": round(wall, 1), **_figures(written)}
    gap = {by: gap_to(found[by], found["subject"]) for by in PROTOCOLS[:-1]}
    for by, points in gap.items():
        print(f"{by} above subject-independent, points: {', '.join(f'{k} {v:+.1f}' for k, v in points.items())}")
    wall = round(sum(protocol["wall_s"] for protocol in found.values()), 1)
    return {"wall_s": wall, "jobs": jobs, "protocols": found, "above_subject_independent": gap, "seed": 0}


def gap_to(protocol: dict[str, Any], honest: dict[str, Any]) -> dict[str, float]:
    """How far the mean of each figure over the folds is above that of the other protocol, in points."""
    return {name: round(protocol["mean"][name] - honest["mean"][name], 2) for name in METRICS}


def _figures(written: dict[str, Any]) -> dict[str, Any]:
    tested = sum(sum(fold["total"]) for fold in written["folds"])
    return {
        "mean": written["mean"],
        "sd": written["sd"],
        "together": {name: written["together"][name] for name in METRICS},
        "confusion": written["together"]["confusion"],
        "accuracy_by_fold": [fold["accuracy"] for fold in written["folds"]],
        "tested_faces": tested,
        "of_people_learnt_from": sum(fold["seen_subjects"] for fold in written["folds"]),
    }
