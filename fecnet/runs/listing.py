"""The table of the runs in a folder, from JSON and text files alone: torch is not imported here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fecnet.runs.run import Run, is_run
from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

_HEAD = ("run", "state", "iteration", "best", "data", "last checkpoint")


def find_runs(folder: Path) -> list[Run]:
    """The runs in ``folder``, ordered by their last checkpoint, the newest at the end.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; runs are in OUTPUT_DIR, 'result' unless a recipe says otherwise")
    return sorted((Run(path) for path in sorted(folder.iterdir()) if is_run(path)), key=_saved)


def format_runs(runs: Sequence[Run]) -> str:
    """An aligned table, a line per run."""
    rows = [_HEAD, *map(describe_run, runs)]
    return align_columns(rows, left=range(len(_HEAD)))


def describe_run(run: Run) -> tuple[str, ...]:
    """A line of the table: name, state, iteration, accuracy of the best checkpoint, data, date or damage."""
    if run.problem or not run.has_checkpoint:
        return (run.name, run.state, "-", "-", "-", run.problem or "-")
    last = run.last
    iteration = f"{last.iteration} / {last.length or '?'}"
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(_saved(run)))
    return (run.name, run.state, iteration, _best(run), last.data.name, date)


def _best(run: Run) -> str:
    accuracy = run.best.accuracy if run.has_best else None
    if accuracy is None or accuracy.selection is None or accuracy.selection.percent is None:
        return "-"
    return f"{accuracy.selection.percent:.1f} % at {accuracy.iteration}"


def _saved(run: Run) -> float:
    """Time at which the last checkpoint was written, seconds since 1970; 0 without one or if it is damaged."""
    return 0.0 if run.problem or not run.has_checkpoint else (run.path / "checkpoints" / "last").stat().st_mtime
