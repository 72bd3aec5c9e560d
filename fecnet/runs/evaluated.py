"""Reads the JSON files of ``fecnet evaluate`` and checks every field that is used; torch is not needed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fecnet.engine.description import Count, MadeBy
from fecnet.utils.errors import UserError
from fecnet.utils.shown import cut, shown
from fecnet.utils.typed_json import check_json

_ROWS = ("ONE", "TWO", "THREE", "ALL")  # rows of triplets by type; fecnet.evaluation.triplet_accuracy imports torch
_MOST = 2**53  # maximum count of faces or triplets: a float represents whole numbers exactly up to this


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The fields that all files have."""

    iteration: int
    splits: dict[str, dict[str, Any]]
    data: str
    views: str
    coverage: dict[str, Any]
    checkpoint: str
    command: str
    date: str
    provenance: MadeBy


@dataclass(frozen=True, kw_only=True)
class _Spread:
    mean: float
    largest: float
    collapsed: bool


@dataclass(frozen=True, kw_only=True)
class _NearTies:
    near: int
    exact: int
    total: int
    move: float
    ONE: int | None = None
    TWO: int | None = None
    THREE: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Triplets:
    """The fields that only ``triplets.json`` has."""

    spread: dict[str, _Spread | None] | None = None
    near_ties: dict[str, _NearTies] | None = None


@dataclass(frozen=True, kw_only=True)
class _Bin:
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class _Calibration:
    ece: float | None
    confidence: float | None
    binning: str
    bins: list[_Bin]


@dataclass(frozen=True, kw_only=True)
class _Metrics:
    accuracy: float | None
    mean_class_accuracy: float | None
    macro_f1: float | None


@dataclass(frozen=True, kw_only=True)
class _Classes(_Metrics):
    """A split of ``classes.json``."""

    classes: list[str]
    total: list[int]
    confusion: list[list[int]]
    calibration: _Calibration
    near_ties: _NearTies | None = None
    training_split: str | None = None
    copies_in_training: int | None = None
    without_copies: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class _Affect:
    """A split of ``affect.json``."""

    ccc: float | None
    valence_ccc: float | None
    arousal_ccc: float | None
    valence_rmse: float | None
    arousal_rmse: float | None
    affect_faces: int


def read_table(file: Path) -> dict[str, Any]:
    """A file of ``TABLES``.

    Raises:
        UserError: unreadable, or a field is missing, of a wrong type or out of range; the message names the field.
    """
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{file}: not JSON: {cut(str(error))}; evaluate the run again with: fecnet evaluate") from error
    try:
        _check_numbers(table, str(file), "")
        check_json(_Table, table, str(file))
        if file.stem == "triplets":
            check_json(_Triplets, table, str(file))
        for split, found in table["splits"].items():
            TABLES[file.stem](found, str(file), f"splits.{split}")
    except RecursionError as error:
        raise UserError(f"{file}: nested too deeply; evaluate the run again with: fecnet evaluate") from error
    except UserError as error:
        raise UserError(f"{error}; evaluate the run again with: fecnet evaluate") from error
    return dict(table)


def _check_numbers(value: Any, name: str, key: str) -> None:
    """Raise UserError where a number is not finite, or a count is too large."""
    if isinstance(value, dict):
        for part, item in value.items():
            _check_numbers(item, name, f"{key}.{part}" if key else part)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_numbers(item, name, f"{key}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name}: '{cut(key)}' is {value}; allowed: finite numbers")
    elif isinstance(value, int) and abs(value) > _MOST:
        raise UserError(f"{name}: '{cut(key)}' is {shown(value)}; allowed: up to 2^53")


def _check_triplets(found: dict[str, Any], name: str, key: str) -> None:
    """Check the counts by row, of ``fecnet`` and of each baseline."""
    for method, rows in {"fecnet": {}, **found}.items():
        if not isinstance(rows, dict):
            raise UserError(f"{name}: '{cut(f'{key}.{method}')}' is {shown(rows)}; allowed: a mapping")
        for row in (*_ROWS, *rows):
            place = f"{key}.{method}.{row}"
            if row not in rows:
                raise UserError(f"{name}: lacks '{cut(place)}'; allowed: a mapping")
            check_json(Count, rows[row], name, place)


def _check_classes(found: dict[str, Any], name: str, key: str) -> None:
    check_json(_Classes, found, name, key)
    num = len(found["classes"])
    if [len(row) for row in found["confusion"]] != [num] * num or min(map(min, found["confusion"]), default=0) < 0:
        raise UserError(f"{name}: '{key}.confusion' is not a matrix of counts with a row for each of {num} classes")
    if found.get("without_copies") is not None:
        check_json(_Metrics, found["without_copies"], name, f"{key}.without_copies")


def _check_affect(found: dict[str, Any], name: str, key: str) -> None:
    check_json(_Affect, found, name, key)


TABLES: dict[str, Callable[[dict[str, Any], str, str], None]] = {  # evaluation/<name>.json, and the check of a split
    "triplets": _check_triplets,
    "classes": _check_classes,
    "affect": _check_affect,
}
