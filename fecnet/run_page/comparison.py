"""Several runs side by side: a table, overlaid curves, and whether their metrics are comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fecnet.run_page.curves import compared_curves
from fecnet.run_page.markup import Child, Markup, element
from fecnet.run_page.provenance import duration, iterations
from fecnet.run_page.run_record import RunRecord
from fecnet.run_page.tables import number, table

_HEADLINES = {  # main metric of each table, and its description
    "triplets": ("ALL", "triplet accuracy"),
    "classes": ("accuracy", "class accuracy"),
    "affect": ("ccc", "mean CCC"),
}
_CUT = (
    "TRAIN_SPLIT",
    "HOLD_OUT",
    "FOLD",
    "FOLD_BY",
    "NUM_FOLDS",
    "FOLD_SEED",
)  # these decide which faces a split contains


def comparison_section(runs: Sequence[RunRecord], names: Sequence[str]) -> Markup:
    """The section above the runs.

    Args:
        runs: two or more.
        names: names of the runs.
    """
    rows: list[list[Child]] = []
    for run, name in zip(runs, names, strict=True):
        info = run.best
        metrics = [element("li", f"{percent} % {text}: {split}") for split, percent, text in headline_metrics(run)]
        measured = element("ul", metrics) if metrics else "not evaluated"
        rows.append([name, info.kind, info.data.name, iterations(run), duration(info.seconds), measured])
    unlike = _unlike(runs)
    notes = ["One run each: this page does not show the variation over seeds."]
    if unlike:
        what = f"{', '.join(unlike[:-1])} and {unlike[-1]}" if len(unlike) > 1 else unlike[0]
        notes.insert(0, f"The runs differ in {what}: their metrics are not comparable.")
    head = ["run", "kind", "data", "checkpoint", "time", "metrics"]
    return element(
        "section",
        element("h2", "Side by side"),
        table(head, rows, caption="The runs of this page", class_="words"),
        [element("p", note, class_="note") for note in notes],
        compared_curves(runs, names),
        id="side-by-side",
    )


def _unlike(runs: Sequence[RunRecord]) -> list[str]:
    """The differences that make metrics incomparable."""

    def differ(values: list[Any]) -> bool:
        return any(value != values[0] for value in values)

    found = {
        "data": [(run.best.data.sources, run.best.data.num_faces, run.best.data.splits) for run in runs],
        "coverage": [_coverage(run) for run in runs],
        "classes": [run.best.classes for run in runs],
        "task": [run.best.kind for run in runs],
    }
    counts = [_counts(run) for run in runs]
    shared = set.intersection(*map(set, counts))
    tables = {name for name, _ in shared}
    found["views"] = [{name: run.tables[name]["views"] for name in tables} for run in runs]
    if {"fold", "hold_out"} & {split for _, split in shared}:
        found["folds or held-out faces"] = [{key: run.config.DATA[key] for key in _CUT} for run in runs]
    found["numbers of triplets or faces"] = [{key: count[key] for key in shared} for count in counts]
    return [what for what, values in found.items() if differ(values)]


def _coverage(run: RunRecord) -> Any:
    """Coverage of the evaluated data, else of the training data."""
    return next((measured["coverage"] for measured in run.tables.values()), run.best.coverage)


def _counts(run: RunRecord) -> dict[tuple[str, str], Any]:
    """The number of triplets or faces of each kind in every evaluated split."""
    counts: dict[tuple[str, str], Any] = {}
    for name, measured in run.tables.items():
        for split, values in measured["splits"].items():
            triplets = [row["total"] for row in values["fecnet"].values()] if name == "triplets" else None
            counts[name, split] = triplets or values.get("total") or values.get("affect_faces")
    return counts


def headline_metrics(run: RunRecord) -> list[tuple[str, str, str]]:
    """Split, value in % and description of the main metric of each table and split."""
    found = []
    for name, measured in run.tables.items():
        key, text = _HEADLINES[name]
        for split, values in measured["splits"].items():
            percent = values["fecnet"][key]["percent"] if name == "triplets" else values[key]
            spread = measured.get("spread", {}).get(split) if name == "triplets" else None
            collapsed = " (the embedding has collapsed)" if spread and spread["collapsed"] else ""
            selecting = " (this split selected the checkpoint)" if split == run.selecting_split else ""
            found.append((split, number(percent), text + collapsed + selecting))
    return found
