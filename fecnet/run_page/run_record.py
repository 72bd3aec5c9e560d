"""What a run has written, read for the page: settings, curves, tables, embeddings, and its faces where they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_meta, run_of, selected_by
from fecnet.utils.errors import UserError
from fecnet.utils.files import read_arrays
from fecnet.utils.logging import read_metrics

TABLES = {  # evaluation/<name>.json, and what is shown of each of its splits
    "triplets": ("fecnet",),
    "classes": ("classes", "confusion", "accuracy", "total", "calibration"),
    "affect": ("ccc", "valence_ccc", "arousal_ccc", "valence_rmse", "arousal_rmse", "affect_faces"),
}


@dataclass(frozen=True)
class RunRecord:
    """A run as it lies on disk.

    Attributes:
        path: its folder.
        meta: ``meta.json`` of its best checkpoint, or of its last where nothing selects.
        metrics: the lines of ``metrics.jsonl``.
        measured: what inference wrote, by ``TABLES``; what it did not measure is absent.
        dataset: the faces that were measured, or None.
        no_faces: why there are none.
    """

    path: Path
    meta: dict[str, Any]
    metrics: list[dict[str, Any]]
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    dataset: PackedDataset | None = None
    no_faces: str = ""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.path.resolve().name

    def expected(self) -> tuple[str, ...]:
        """Which of ``TABLES`` a run of this kind has when it is measured."""
        if self.meta["kind"] == "embedding":
            return ("triplets",)
        kinds = {"joint": ("triplets", "classes"), "classifier": ("classes",), "affect": ()}
        affect = ("affect",) if "valence_arousal" in self.meta["config"].get("LOSS", {}).get("CRITERIA", ()) else ()
        return kinds.get(self.meta["kind"], ()) + affect

    def arrays(self, name: str, needed: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Arrays of ``evaluation/<name>.npz``, a row per measured face, or None where there is no such file.

        Raises:
            UserError: unreadable, values that are not finite, or rows that do not increase or fit values and data.
        """
        file = self.path / "evaluation" / f"{name}.npz"
        if not file.is_file():
            return None
        arrays = read_arrays(file, ("rows", *needed), kind="file of measured faces")
        sizes = {key: len(array) if array.ndim else None for key, array in arrays.items()}
        if len(set(sizes.values())) != 1 or arrays["rows"].ndim != 1:
            raise UserError(f"{file}: arrays of different lengths: {sizes}")
        if (np.diff(arrays["rows"]) <= 0).any():
            raise UserError(f"{file}: 'rows' do not increase")
        rows_N = arrays["rows"]
        if len(rows_N) and self.dataset and not 0 <= rows_N[0] <= rows_N[-1] < len(self.dataset.faces_NHWC):
            raise UserError(f"{file}: rows that {self.dataset.path} does not have; measure the run anew")
        bad = [key for key, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        if bad:
            raise UserError(f"{file}: '{bad[0]}' is not finite everywhere")
        return arrays

    def selecting_split(self) -> str | None:
        """The split that selected the best checkpoint, or None where nothing selected."""
        selected = selected_by(self.meta)
        return selected and selected[0]


def read_run(path: Path) -> RunRecord:
    """The run in ``path``.

    Raises:
        UserError: no checkpoint there, or a file of the run that is damaged.
    """
    checkpoint = find_checkpoint(path, "best")
    run = run_of(checkpoint)
    meta = load_meta(checkpoint)
    measured = {}
    for name in TABLES:
        file = run / "evaluation" / f"{name}.json"
        if file.is_file():
            measured[name] = _read_table(file, TABLES[name])
    dataset, no_faces = _open_faces(meta, measured)
    file = run / "metrics.jsonl"
    return RunRecord(run, meta, read_metrics(file) if file.is_file() else [], measured, dataset, no_faces)


def _read_table(file: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{file}: not JSON: {error}; measure the run anew with: python inference.py") from error
    if not isinstance(table, dict) or not isinstance(table.get("splits"), dict) or "iteration" not in table:
        raise UserError(f"{file}: not a table of inference.py, which has 'splits' and 'iteration'")
    for split, found in table["splits"].items():
        lacking = [key for key in needed if key not in found]
        if lacking:
            raise UserError(f"{file}: split '{split}' lacks {', '.join(lacking)}; measure the run anew")
    return table


def _open_faces(meta: dict[str, Any], measured: dict[str, dict[str, Any]]) -> tuple[PackedDataset | None, str]:
    """The data set that was measured, if it still is what it was; else the reason."""
    if not measured:
        return None, "nothing is measured yet"
    table = next(iter(measured.values()))
    path = table.get("data") or meta["config"]["DATA"]["PATH"]
    try:
        dataset = PackedDataset(path)
    except (UserError, OSError) as error:
        return None, str(error)
    if table.get("coverage") != dataset.coverage or (
        str(path) == meta["config"]["DATA"]["PATH"]
        and any(meta["data"][key] != dataset.description[key] for key in ("sources", "num_faces"))
    ):
        return None, f"{path}: holds other data than was measured"
    return dataset, ""
