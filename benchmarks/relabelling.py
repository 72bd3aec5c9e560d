"""Label noise: cross-entropy, SCN, and SCN with relabelling on FERPlus with 30 % wrong labels, at equal length.

A missing data set must be prepared first: ``fecnet prepare ferplus FER2013_FOLDER datasets/ferplus_noise
--label-noise 0.3``. Runs are kept in ``result/relabelling``: finished ones are not trained again, others are resumed.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.demo import ROOT
from fecnet.config.node import load_config
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.checkpointer import load_trainer
from fecnet.studies.scheduler import PlannedRun, train_all
from fecnet.utils.metrics import read_metrics

RECIPE = ROOT / "config" / "ferplus_scn.yaml"
CLEAN = "ferplus"
VARIANTS = {  # what differs from the recipe
    "ce": (
        *("MODEL.HEAD", "classifier", "LOSS.CRITERIA", "[cross_entropy]", "LOSS.WEIGHTS", "[1.0]"),
        *("LOSS.SCN_RELABEL_AFTER", "0", "LOSS.SCN_BETA", "0.7", "LOSS.SCN_MARGIN_2", "0.2"),
    ),
    "scn": ("LOSS.SCN_RELABEL_AFTER", "0"),
    "scn_relabel": (),
}
PAIRS = (("scn_relabel", "ce"), ("scn", "ce"), ("scn_relabel", "scn"))


def run(*, quick: bool, epochs: float | None = None, jobs: int = 2) -> dict[str, Any]:
    """Train all variants and count; without the data set a quick run skips it, with it it is one epoch.

    Args:
        quick: one seed, one epoch each, nothing is kept.
        epochs: length of each run; None = that of the recipe.
        jobs: runs side by side; they share the cores.
    """
    path = ROOT / load_config(RECIPE).DATA.PATH
    if not (path / "dataset.json").is_file():
        command = f"fecnet prepare ferplus FER2013_FOLDER {path.relative_to(ROOT)} --label-noise 0.3"
        if quick:
            print(f"{path.relative_to(ROOT)} is absent: not measured")
            return {}
        raise SystemExit(f"{path.relative_to(ROOT)} is absent: {command}")
    options = ["SOLVER.LENGTH", str(epochs)] if epochs is not None else []
    if quick:
        with tempfile.TemporaryDirectory() as temporary:
            short = ["SOLVER.LENGTH", "1", "LOSS.SCN_RELABEL_AFTER", "0.5"]
            return measure(Path(temporary), short, seeds=[0], jobs=jobs)
    return measure(ROOT / "result" / "relabelling", options, seeds=[0, 1, 2], jobs=jobs)


def measure(folder: Path, options: Sequence[str], *, seeds: Sequence[int], jobs: int) -> dict[str, Any]:
    """All variants with all seeds: each run, and over the seeds their means, deviations and differences.

    Args:
        folder: holds the runs.
        options: overrides of the recipe, the same for all; those of a variant come after them.
        seeds: of the runs; one seed sees the same faces in the same order in each variant.
        jobs: runs side by side.
    """
    wanted = {
        (name, seed): [*options, *overrides, "SEED", str(seed)]
        for seed, (name, overrides) in product(seeds, VARIANTS.items())
    }
    train_all(
        RECIPE, [PlannedRun(f"{name}-{seed}", tuple(own)) for (name, seed), own in wanted.items()], folder, jobs=jobs
    )
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for name, seed in wanted:
        runs[name].append({"seed": seed, **read_run(folder / f"{name}-{seed}")})
    found = {"recipe": str(RECIPE.relative_to(ROOT)), "options": list(options), "jobs": jobs, "runs": runs}
    return found | {"over_seeds": over_seeds(runs)}


def read_run(run: Path) -> dict[str, Any]:
    """The content of a run's last checkpoint: its length, its accuracies, and the changed labels."""
    checkpoint = find_checkpoint(run, "last")
    info = load_info(checkpoint)
    assert info.accuracy and info.accuracy.iteration == info.iteration == info.length, checkpoint
    lines = read_metrics(run / "metrics.jsonl")
    splits = info.accuracy.splits
    first = next(iter(splits))
    found = {
        "iterations": info.iteration,
        "training_s": info.seconds,
        "percent": {split: figures["accuracy"] for split, figures in splits.items()},
        "best_percent": {first: max(line[f"{first}/accuracy"] for line in lines if f"{first}/accuracy" in line)},
    }
    cfg = info.settings()
    if cfg.LOSS.SCN_RELABEL_AFTER:
        data = PackedDataset(ROOT / cfg.DATA.PATH)
        given, clean = (data.labels(name, cfg.DATA.TRAIN_SPLIT) for name in (cfg.DATA.LABELS, CLEAN))
        found["labels"] = count_relabels(given, clean, load_trainer(checkpoint)["labels"])
    return found


def count_relabels(given: LabelTable, clean: LabelTable, changed: Mapping[str, Tensor]) -> dict[str, Any]:
    """How many labels were changed, and how many of the changes were correct.

    Args:
        given: the labels that were given to learn from.
        clean: the right ones, of these faces and perhaps of others.
        changed: ``row`` and ``label`` of those that differ at the end.
    """
    right_of = dict(zip(clean.faces_M.tolist(), clean.label_M.tolist(), strict=True))
    given_of = dict(zip(given.faces_M.tolist(), given.label_M.tolist(), strict=True))
    wrong = {row for row, label in given_of.items() if label != right_of[row]}
    new_of = dict(zip(changed["row"].tolist(), changed["label"].tolist(), strict=True))
    were_wrong = sum(row in wrong for row in new_of)
    are_right = sum(label == right_of[row] for row, label in new_of.items())
    return {
        "labels": len(given_of),
        "wrong_percent": _percent(len(wrong), len(given_of)),
        "relabelled": len(new_of),
        "of_these_wrong_before_percent": _percent(were_wrong, len(new_of)),
        "of_these_right_after_percent": _percent(are_right, len(new_of)),
        "wrong_at_the_end_percent": _percent(len(wrong) - were_wrong + len(new_of) - are_right, len(given_of)),
    }


def over_seeds(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Mean and deviation of each variant, and of the differences within each seed, in points.

    Args:
        runs: by variant, the runs in the same order of seeds.
    """
    percent = {
        name: {split: [run["percent"][split] for run in of] for split in of[0]["percent"]} for name, of in runs.items()
    }
    found: dict[str, Any] = {
        "percent": {name: {split: _spread(values) for split, values in of.items()} for name, of in percent.items()},
        "points": {
            f"{one} - {other}": {
                split: _spread([a - b for a, b in zip(values, percent[other][split], strict=True)])
                for split, values in percent[one].items()
            }
            for one, other in PAIRS
        },
    }
    labels = [run["labels"] for run in runs["scn_relabel"]]
    found["labels"] = {
        name: _spread([of[name] for of in labels]) for name in labels[0] if all(of[name] is not None for of in labels)
    }
    print(json.dumps(found, indent=1))
    return found


def _spread(values: Sequence[float]) -> dict[str, Any]:
    deviation = round(statistics.stdev(values), 2) if len(values) > 1 else None
    return {"mean": round(float(np.mean(values)), 2), "sd": deviation, "each": [round(value, 2) for value in values]}


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None
