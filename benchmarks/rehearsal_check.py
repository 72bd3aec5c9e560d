"""What ``rehearsal.py`` checks at the end: the counts against what was given, and one folder against the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.rehearsal_annotations import Written
from benchmarks.survive import assert_same

_DEAD_HOST = ("unreachable", "host_down")  # what is said of its photos: asked for, and given up


def check_counts(data: Path, written: Mapping[str, Written], photos: Mapping[str, int]) -> dict[str, Any]:
    """The coverage of a data set, which must be what the files and the hosts had.

    Args:
        data: the packed data set.
        written: what the annotation files hold, by split.
        photos: how many photos must be kept, and missing by reason.

    Returns:
        Counts of rows, photos, faces and triplets for the record.

    Raises:
        SystemExit: something is counted otherwise, or not at all.
    """
    coverage = json.loads((data / "dataset.json").read_text())["coverage"]
    _same("photos", with_dead_host(coverage["photos"]), dict(photos))
    for split, given in written.items():
        rows, triplets = coverage["rows"][split], coverage["triplets"][split]
        found = {reason: number for reason, number in rows["dropped"].items() if number}
        _same(f"rows of {split}", (rows["read"], found), (given.read, given.dropped))
        _same(f"triplets of {split}", triplets["read"], rows["kept"])
    tables = {f"rows of {split}": rows for split, rows in coverage["rows"].items()}
    tables |= {f"triplets of {split}": triplets for split, triplets in coverage["triplets"].items()}
    tables |= {"photos": coverage["photos"], "faces": coverage["faces"]}
    for name, table in tables.items():
        _same(f"{name}: kept + dropped", table["kept"] + sum(table["dropped"].values()), table["read"])
    counted = {name: {"read": table["read"], "kept": table["kept"]} for name, table in tables.items()}
    dropped = {name: {reason: n for reason, n in table["dropped"].items() if n} for name, table in tables.items()}
    return {"counted": counted, "dropped": dropped}


def with_dead_host(photos: Mapping[str, Any]) -> dict[str, int]:
    """Counts of photos, kept and by reason; those of the dead host, which time divides, are added up."""
    counts = {"kept": photos["kept"], **photos["dropped"]}
    dead = sum(counts.pop(reason, 0) for reason in _DEAD_HOST)
    return counts | ({"dead_host": dead} if dead else {})


def table_of(run: Path) -> dict[str, dict[str, float | None]]:
    """The accuracies of a run and its baselines in percent, on the test split."""
    (rows,) = json.loads((run / "evaluation" / "triplets.json").read_text())["splits"].values()
    types = ("ONE", "TWO", "THREE", "ALL")
    return {name: {kind: cells[kind]["percent"] for kind in types} for name, cells in rows.items()}


def equal_ends(whole: Path, killed: Path, run: str) -> dict[str, bool]:
    """Whether both folders hold the same at the end.

    Raises:
        SystemExit: they do not.
        AssertionError: the runs differ.
    """
    files = [json.loads((lane / "datasets" / "fec" / "dataset.json").read_text())["files"] for lane in (whole, killed)]
    _same("the packed sets", *files)
    assert_same(whole / run, killed / run)
    _same("the tables", table_of(whole / run), table_of(killed / run))
    answers = [json.loads((lane / "neighbours.json").read_text())["answers"] for lane in (whole, killed)]
    _same("the neighbours", *answers)
    return dict.fromkeys(("packed_set", "weights_and_metrics", "table", "neighbours"), True)


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"rehearsal: {what}: {found}; expected {wanted}")
