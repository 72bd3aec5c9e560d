"""Compares trained runs: metrics of each, differences, plot and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fecnet.evaluation.comparison import (
    Difference,
    compare_settings,
    format_differences,
    format_settings,
    standard_deviation,
)
from fecnet.evaluation.learning_curves import Panel, make_band, plot_curves
from fecnet.studies.compared_runs import ComparedRun, common_curve, group_runs, made_differently, read_run
from fecnet.utils.env import provenance
from fecnet.utils.files import replace_json
from fecnet.utils.together import all_or_none

_POINTS = 100  # maximum number of points of a curve
Groups = Mapping[str, Mapping[int, ComparedRun]]


def compare_runs(folders: Sequence[Path], output: Path, *, split: str = "", metric: str = "") -> str:
    """Compare finished runs; writes ``comparison.json`` and ``comparison.png``.

    Args:
        folders: folders of the runs; settings are ordered by their first runs.
        output: folder to write to.
        split: split that is compared, evaluated now if it is not one of ``DATA.EVAL_SPLITS``; empty = the last of these
            that selects no checkpoint and is not trained on.
        metric: metric that is compared; empty = the one that selects the checkpoint.

    Returns:
        The tables.

    Raises:
        UserError: an unfinished run, a number that is not finite, runs with different classes or data, an unknown
            metric.
    """
    runs = [read_run(folder) for folder in folders]
    groups = group_runs(runs)
    split, metric = split or _choose_split(runs), metric or _choose_metric(runs)
    metrics = {
        name: {setting: _by_seed(found, name, metric) for setting, found in groups.items()}
        for name in dict.fromkeys([*runs[0].values["DATA.EVAL_SPLITS"], split])
    }
    differences = compare_settings(metrics[split])
    notes = _notes(runs, differences, split)
    output.mkdir(parents=True, exist_ok=True)
    unit = "epoch" if _by_epoch(runs) else "iteration"
    written = {
        "metric": metric,
        "split": split,
        "settings": {name: _describe(name, found, metrics) for name, found in groups.items()},
        "differences": [pair.to_dict() for pair in differences],
        "notes": notes,
        "provenance": provenance(),
    }
    with all_or_none([output / "comparison.json", output / "comparison.png"]) as (table, picture):
        plot_curves(_panels(groups, split, metric), list(groups), picture, title=_title(groups), unit=unit)
        replace_json(table, written)
    selecting = {run.selecting[0] for run in runs}
    columns = {f"{name} (selects)" if name in selecting else name: column for name, column in metrics.items()}
    tables = [f"{metric}, %: mean ± standard deviation over seeds", format_settings(columns)]
    if differences:
        tables += ["", f"{split}: differences of runs with the same seed", format_differences(differences)]
    return "\n".join([*tables, "", *notes, f"{output}: comparison.json, comparison.png"])


def _by_seed(found: Mapping[int, ComparedRun], split: str, metric: str) -> dict[int, float]:
    return {seed: run.metric(split, metric) for seed, run in found.items()}


def _title(groups: Groups) -> str:
    numbers = [len(found) for found in groups.values()]
    few, many = min(numbers), max(numbers)
    runs = f"{many} run{'s' * (many > 1)}" if few == many else f"{few} to {many} runs"
    return f"mean of {runs} a setting, band ± sd" if many > 1 else f"{runs} a setting"


def _choose_split(runs: Sequence[ComparedRun]) -> str:
    splits = list(runs[0].values["DATA.EVAL_SPLITS"])
    selecting = {run.selecting[0] for run in runs}
    unseen = [split for split in splits if split not in _trained_on(runs)]
    free = [split for split in unseen if split not in selecting]
    return (free or unseen or splits)[-1]


def _trained_on(runs: Sequence[ComparedRun]) -> set[str]:
    """The splits that any of the runs was trained on."""
    return {run.values["DATA.TRAIN_SPLIT"] for run in runs}


def _choose_metric(runs: Sequence[ComparedRun]) -> str:
    """The metric that selected, if all runs agree; else the default one."""
    selecting = {run.selecting[1] for run in runs} - {""}
    if len(selecting) == 1:
        return selecting.pop()
    kind = runs[0].best.kind
    return {"classifier": "accuracy", "affect": "ccc"}.get(kind, "ALL")


def _notes(runs: Sequence[ComparedRun], differences: Sequence[Difference], split: str) -> list[str]:
    """Notes on how to read the numbers."""
    selecting = sorted({run.selecting[0] for run in runs} - {""})
    used = [f"the checkpoint that was best on {name}" for name in selecting]
    used += ["the last iteration of a run that selects none"] * any(not run.selecting[0] for run in runs)
    notes = [f"measured at {' or '.join(used)}"]
    if split in selecting:
        notes.append(
            f"{split} also selected the checkpoints, so its metrics are biased upwards; --split measures another"
        )
    if split in _trained_on(runs):
        notes.append(f"{split} was trained on: its metrics say nothing of other faces; --split measures another")
    if differences:
        each = 100 * differences[0].confidence
        together = f"; all {len(differences)} intervals hold together at 95 %" if len(differences) > 1 else ""
        notes.append(
            f"interval: {each:.4g} % confidence, Student's t over seeds{together}; it is about other seeds, not about "
            "other test faces"
        )
    notes += [f"runs differ in {key}: {', '.join(values)}" for key, values in made_differently(runs).items()]
    return notes


def _describe(name: str, found: Mapping[int, ComparedRun], metrics: Mapping[str, Any]) -> dict[str, Any]:
    values = {split: list(column[name].values()) for split, column in metrics.items()}
    return {
        "runs": {str(seed): str(run.path) for seed, run in found.items()},
        "iteration": {str(seed): run.best.iteration for seed, run in found.items()},
        "percent": {
            split: {str(seed): value for seed, value in column[name].items()} for split, column in metrics.items()
        },
        "mean": {split: statistics.fmean(numbers) for split, numbers in values.items()},
        "sd": {split: standard_deviation(numbers) for split, numbers in values.items()},
    }


def _by_epoch(runs: Sequence[ComparedRun]) -> bool:
    return all(run.iterations_per_epoch is not None for run in runs)


def _panels(groups: Groups, split: str, metric: str) -> list[Panel]:
    runs = [run for found in groups.values() for run in found.values()]
    train = f"{runs[0].values['DATA.TRAIN_SPLIT']}/{metric}"
    measured = all(train in run.curves for run in runs)
    title = f"{metric} on {runs[0].values['DATA.TRAIN_SPLIT']}, %"
    if not measured:
        title = "accuracy on training batches, %: augmented, with dropout"
    missing = f"not measured: add '{runs[0].values['DATA.TRAIN_SPLIT']}' to DATA.EVAL_SPLITS"
    return [
        Panel("training loss", _bands(groups, "loss", points=_POINTS)),
        Panel("learning rate", _bands(groups, "lr", logarithmic=True), logarithmic=True),
        Panel(
            title,
            _bands(groups, train if measured else "batch_accuracy", points=_POINTS),
            percent=True,
            missing=missing,
        ),
        Panel(
            f"{metric} on {split}, %",
            _bands(groups, f"{split}/{metric}"),
            percent=True,
            missing="not measured while training, only at the checkpoints compared",
        ),
    ]


def _bands(groups: Groups, curve: str, *, points: int = 0, logarithmic: bool = False) -> dict[str, Any]:
    by_epoch = _by_epoch([run for found in groups.values() for run in found.values()])
    bands = {}
    for name, found in groups.items():
        shared = list(common_curve(found, curve))
        scale = next(iter(found.values())).iterations_per_epoch if by_epoch else None
        places = [iteration / (scale or 1.0) for iteration, _ in shared]
        bands[name] = make_band(places, [values for _, values in shared], points=points, logarithmic=logarithmic)
    return {name: band for name, band in bands.items() if band is not None}
