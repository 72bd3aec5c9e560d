"""Metrics of a split that was not evaluated in training, computed from the checkpoint and cached in the run folder."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fecnet.data.folds import FOLD
from fecnet.data.label_splits import HOLD_OUT
from fecnet.data.packed import PackedDataset
from fecnet.runs.folders import data_differences
from fecnet.runs.opened_net import open_net
from fecnet.runs.run import Run
from fecnet.utils.env import choose_device, code_hash, now, provenance
from fecnet.utils.errors import DataError, UserError
from fecnet.utils.files import hash_file, replace_json
from fecnet.utils.program import command_line
from fecnet.utils.shown import cut, shown
from fecnet.utils.typed_json import check_json

logger = logging.getLogger(__name__)

Metrics = dict[str, float | None]  # %, by name as in metrics.jsonl; None of a collapsed embedding


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The fields of the file that are read back."""

    metrics: dict[str, float | None]
    made_from: dict[str, str]


def measured_metrics(run: Run, split: str) -> Metrics:
    """The metrics of the best checkpoint (the last where none is selected) on ``split``.

    They are cached in ``evaluation/measured_<split>.json`` together with checkpoint, data, code and device. If all of
    these are the same, the file is read; else the metrics are computed again.

    Raises:
        UserError: the data are absent, are not the training data, or have no such split; or the checkpoint does not fit
            the code.
    """
    dataset = _open_data(run, split)
    made_from = _made_from(run, dataset)
    file = run.path / "evaluation" / f"measured_{split}.json"
    known = _read(file)
    if known.get("made_from") == made_from:
        return dict(known["metrics"])
    logger.info(f"{run.path}: {split} was not measured while training: measured at iteration {run.best.iteration}")
    net = open_net(Path(run.best.place), splits=[split])
    measured = net.evaluator(net.model)[split]
    file.parent.mkdir(exist_ok=True)
    written = {
        "split": split,
        "iteration": run.best.iteration,
        "metrics": measured.metrics(),
        "result": measured.to_dict(),
        "made_from": made_from,
        "coverage": dataset.coverage,
        "command": command_line(),
        "date": now(),
        "provenance": provenance(net.device),
    }
    replace_json(file, written)
    return measured.metrics()


def _open_data(run: Run, split: str) -> PackedDataset:
    """The data that the run was trained on; errors say why they are needed."""
    data = run.config.DATA
    why = f"{run.path}: {split} was not measured while training ({', '.join(data.EVAL_SPLITS)} were)"
    try:
        dataset = PackedDataset(data.PATH)
    except DataError as error:
        raise UserError(f"{why}, and the data to measure it cannot be opened: {error}") from error
    if differences := data_differences(run.best, dataset):
        key, before, found = differences[0]
        raise UserError(
            f"{why}, and {dataset.path} holds other data now: '{key}' was {shown(before)}, is {shown(found)}"
        )
    splits = [*dataset.description["splits"], *([HOLD_OUT] if data.HOLD_OUT else []), *([FOLD] if data.FOLD else [])]
    if split not in splits:
        raise UserError(f"{why}, and {dataset.path} has no such split; there are: {', '.join(splits)}")
    return dataset


def _made_from(run: Run, dataset: PackedDataset) -> dict[str, Any]:
    """Everything that the metrics depend on: if any of it differs, they are computed again."""
    checkpoint = Path(run.best.place)
    files = json.dumps(dataset.files, sort_keys=True).encode()
    return {
        **{name: hash_file(checkpoint / name) for name in ("model.safetensors", "meta.json")},
        "data": hashlib.sha256(files).hexdigest(),
        "code": code_hash(),
        "device": provenance(choose_device(run.config.DEVICE))["device"],
    }


def _read(file: Path) -> dict[str, Any]:
    """The content of a cache file; empty if it does not exist or is damaged, which is logged."""
    try:
        return _checked(file) if file.is_file() else {}
    except UserError as error:
        logger.warning(f"{error}; measured again")
        return {}


def _checked(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # JSON's and UTF-8's
        raise UserError(f"{file}: not JSON: {cut(str(error))}") from error
    check_json(_Kept, known, str(file))
    return dict(known)
