"""The runs of a folder at a glance, from their JSON and text files alone: torch is not imported here."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fecnet.utils.errors import UserError

_RECENT_S = 300.0  # a run that wrote within this time may be running: nothing on disk tells for sure


@dataclass(frozen=True)
class Run:
    """A line of the table.

    Attributes:
        name: of its folder.
        state: ``finished``; ``pruned`` and not trained since; ``stopped`` before its last iteration; ``running?`` where
            it wrote a moment ago; ``empty`` before the first checkpoint; ``damaged``.
        iteration: of the last checkpoint and of the whole training, such as ``400 / 1000``.
        best: accuracy of the best checkpoint on the first evaluation split, and its iteration.
        data: name of the data set.
        saved: when the last checkpoint was written, seconds since 1970; 0 where there is none.
        problem: what is wrong with a damaged run.
    """

    name: str
    state: str
    iteration: str = "-"
    best: str = "-"
    data: str = "-"
    saved: float = 0.0
    problem: str = ""


def find_runs(folder: Path) -> list[Run]:
    """The runs in ``folder``, the one that saved last at the end.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; runs are in OUTPUT_DIR, 'result' unless a recipe says otherwise")
    places = [
        path for path in sorted(folder.iterdir()) if (path / "config.yaml").exists() or _checkpoints(path).exists()
    ]
    return sorted((_describe(path) for path in places), key=lambda run: run.saved)


def format_runs(runs: Sequence[Run]) -> str:
    """An aligned table, a line per run."""
    rows = [("run", "state", "iteration", "best", "data", "last checkpoint")]
    for run in runs:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.saved)) if run.saved else "-"
        rows.append((run.name, run.state, run.iteration, run.best, run.data, run.problem or date))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _describe(path: Path) -> Run:
    try:
        if not (_checkpoints(path) / "last").exists():
            return Run(path.name, "running?" if _wrote_recently(path) else "empty")
        last = _meta(path, "last")
        iteration, length = last["iteration"], last.get("length")  # not kept by the first checkpoints of 0.1.0
        finished = length is not None and iteration >= length
        state = (
            "pruned" if length == 0 else "finished" if finished else "running?" if _wrote_recently(path) else "stopped"
        )
        return Run(
            path.name,
            state,
            f"{iteration} / {length or '?'}",
            _best(path),
            last["data"]["name"],
            (_checkpoints(path) / "last").stat().st_mtime,
        )
    except (OSError, UserError, UnicodeDecodeError, KeyError, TypeError) as error:
        return Run(path.name, "damaged", problem=_one_line(error))


def _best(path: Path) -> str:
    if not (_checkpoints(path) / "best").exists():  # not evaluated yet
        return "-"
    meta = _meta(path, "best")
    accuracy, split = meta["accuracy"], meta["config"]["DATA"]["EVAL_SPLITS"][0]
    # the first checkpoints of 0.1.0 do not say what selected them: triplets did
    selection = accuracy.get("selection") or {"percent": accuracy["splits"][split]["ALL"]["percent"]}
    return f"{selection['percent']:.1f} % at {accuracy['iteration']}"


def _meta(path: Path, which: str) -> dict[str, Any]:
    """``meta.json`` of the checkpoint that ``last`` or ``best`` names; its other files must be there and not empty."""
    pointer = _checkpoints(path) / which
    number = pointer.read_text().strip()
    if not number.isdigit():
        raise UserError(f"{which}: expected an iteration, found {number!r}")
    checkpoint = _checkpoints(path) / number
    for name in ("model.safetensors", "trainer.pt"):
        if not (checkpoint / name).stat().st_size:
            raise UserError(f"{number}/{name}: empty")
    try:
        return json.loads((checkpoint / "meta.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{number}/meta.json: {error}") from error


def _checkpoints(path: Path) -> Path:
    return path / "checkpoints"


def _wrote_recently(path: Path) -> bool:
    written = [file.stat().st_mtime for file in (path / "metrics.jsonl", path / "config.yaml") if file.exists()]
    return time.time() - max(written, default=0.0) < _RECENT_S


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{'/'.join(Path(str(error.filename)).parts[-2:])}: {error.strerror}"
    if isinstance(error, KeyError):
        return f"meta.json: no {error}"
    return " ".join(str(error).split())
