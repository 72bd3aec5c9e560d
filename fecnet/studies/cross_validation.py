"""K-fold: a run for each fold of the training split, evaluated at its last iteration, and all folds pooled."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.config.node import Frozen, flatten, load_config
from fecnet.data.build import build_fold_rule, build_label_splits
from fecnet.data.face_rows import face_rows
from fecnet.data.folds import FOLD, fold_tests, values_of
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from fecnet.evaluation.classification import ClassAccuracy, confusion_text
from fecnet.evaluation.coverage import format_coverage
from fecnet.evaluation.drawing import INSTALL, can_plot
from fecnet.evaluation.fold_accuracy import (
    FoldAccuracy,
    count_tests,
    format_folds,
    format_tests,
    sum_folds,
    summarise_folds,
)
from fecnet.evaluation.plots import confusion_plot
from fecnet.runs.inference import infer_run
from fecnet.runs.tasks import Task, find_task, selection_metric
from fecnet.runs.training import open_dataset
from fecnet.studies.scheduler import PlannedRun, train_all
from fecnet.utils.env import choose_device, provenance
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.files import replace_json, replace_text
from fecnet.utils.together import all_or_none

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Fold:
    """A fold before training."""

    number: int
    learnt: int
    seen_subjects: int | None


def cross_validate(
    recipe: Path,
    overrides: Sequence[str] = (),
    *,
    by: str = "",
    folds: Sequence[int] = (),
    jobs: int = 1,
    devices: Sequence[str] = (),
) -> dict[str, Any]:
    """Train a net for each fold of ``DATA.TRAIN_SPLIT`` and evaluate it on that fold.

    The runs are ``OUTPUT_DIR/<recipe>_<by>/fold_<number>`` (``NAME`` replaces the folder's name). Finished folds are
    not trained again, and interrupted ones are resumed. Each net is evaluated at its last iteration, so that nothing is
    selected on test faces. Writes ``folds.json`` and the sum of the confusion matrices, ``confusion_folds.csv`` and,
    with matplotlib, ``.png``, next to the runs; for a subset of the folds, ``folds_<numbers>.json`` and so on.

    Args:
        recipe: YAML recipe.
        overrides: ``KEY VALUE`` pairs.
        by: replaces ``DATA.FOLD_BY`` unless empty.
        folds: numbers of folds, from 1; empty for all.
        jobs: folds trained concurrently.
        devices: GPUs; one fold at a time is trained on each, and ``jobs`` is ignored.

    Returns:
        The content of the JSON file.

    Raises:
        UserError: no such fold; settings, data or a run that do not fit; a class is missing in a fold's training faces;
            fewer groups than folds; a fold failed.
        SystemExit: 128 + the signal that ended it.
    """
    own = [key for key in _of_fold(1)[::2] if key in overrides[::2]]
    if own:
        raise UserError(
            f"'{own[0]}': set for each fold by fecnet folds; --fold chooses folds; for one run: fecnet train"
        )
    overrides = [*overrides, *(["DATA.FOLD_BY", by] if by else [])]
    cfg = load_config(recipe, [*overrides, *_of_fold(1)])
    numbers = _numbers(cfg, folds)
    folder = Path(cfg.OUTPUT_DIR) / (cfg.NAME or f"{recipe.stem}_{cfg.DATA.FOLD_BY}")
    dataset = open_dataset(cfg)
    task = find_task(cfg, dataset)
    if not task.has_classes:
        raise ConfigError(f"LOSS.CRITERIA: {list(cfg.LOSS.CRITERIA)}; allowed for folds: criteria that learn classes")
    selection_metric(cfg, task)  # a schedule that needs one is refused
    settings = {number: [*overrides, *_of_fold(number)] for number in numbers}
    planned = [_plan(load_config(recipe, settings[number]), dataset, number) for number in numbers]
    runs = [PlannedRun(f"fold_{number}", tuple(settings[number])) for number in numbers]
    train_all(recipe, runs, folder, jobs=jobs, devices=devices)
    found = [_measure(folder, fold, cfg, task) for fold in planned]
    result = {
        "recipe": recipe.stem,
        "data": str(dataset.path),
        "split": cfg.DATA.TRAIN_SPLIT,
        "by": cfg.DATA.FOLD_BY,
        "num_folds": cfg.DATA.NUM_FOLDS,
        "fold_seed": cfg.DATA.FOLD_SEED,
        "tested": _tested(cfg, dataset) if len(numbers) == cfg.DATA.NUM_FOLDS else None,
        **summarise_folds(found),
        "coverage": dataset.coverage,
        "provenance": provenance(choose_device(cfg.DEVICE)),
    }
    _report(folder, found, result, dataset)
    return result


def _of_fold(number: int) -> list[str]:
    """Settings without checkpoint selection: only the fold is evaluated."""
    measured = ["DATA.EVAL_SPLITS", f"[{FOLD}]", "DATA.REPORT_SPLITS", f"[{FOLD}]", "EVAL.BEST_METRIC", "last"]
    return ["DATA.FOLD", str(number), "DATA.HOLD_OUT", "0", *measured]


def _numbers(cfg: Frozen, folds: Sequence[int]) -> list[int]:
    numbers = sorted(set(folds)) or list(range(1, cfg.DATA.NUM_FOLDS + 1))
    wrong = [number for number in numbers if not 1 <= number <= cfg.DATA.NUM_FOLDS]
    if wrong:
        raise UserError(f"--fold {wrong[0]}: allowed: 1..{cfg.DATA.NUM_FOLDS} (DATA.NUM_FOLDS), or all")
    return numbers


def _plan(cfg: Frozen, dataset: PackedDataset, number: int) -> _Fold:
    """The fold, checked before anything is trained.

    Raises:
        UserError: a class without a face to learn from, or no face to test.
    """
    splits = build_label_splits(cfg, dataset)
    learnt = splits.table(cfg.DATA.TRAIN_SPLIT, min_share=cfg.DATA.TRAIN_MIN_VOTE_SHARE)
    tested = splits.table(FOLD, min_share=cfg.DATA.EVAL_MIN_VOTE_SHARE)
    there = set(learnt.label_M.tolist())
    absent = [name for label, name in enumerate(splits.classes) if label not in there]
    if absent:
        raise UserError(
            f"{dataset.path}: fold {number} of {cfg.DATA.NUM_FOLDS} by '{cfg.DATA.FOLD_BY}' leaves no face to learn "
            f"the class '{absent[0]}' from; allowed: one or more of each, so fewer folds or another DATA.FOLD_BY"
        )
    if not (tested.label_M >= 0).any():
        raise UserError(f"{dataset.path}: fold {number} by '{cfg.DATA.FOLD_BY}' has no labelled face to test")
    return _Fold(number, int((learnt.label_M >= 0).sum()), _seen_subjects(dataset, learnt, tested))


def _seen_subjects(dataset: PackedDataset, learnt: LabelTable, tested: LabelTable) -> int | None:
    """Number of test faces whose subjects are also in training; None if subjects are unknown."""
    records = list(face_rows(dataset.path))
    before, now = (values_of(table, records, "subject")[table.label_M >= 0] for table in (learnt, tested))
    if not (before != "").all() or not (now != "").all():
        return None
    return int(np.isin(now, before).sum())


def _measure(folder: Path, fold: _Fold, cfg: Frozen, task: Task) -> FoldAccuracy:
    """Evaluate the fold at its last iteration; the table is written to its log."""
    how = ("DATA.PATH", "DEVICE", "EVAL.BATCH_SIZE")  # settings that may have changed since it was trained
    overrides = [text for key, value in flatten(cfg) if key in how for text in (key, str(value))]
    name = f"fold_{fold.number}"
    with (
        (folder / f"{name}.log").open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        found = infer_run(str(folder / name), checkpoint="last", splits=[FOLD], overrides=overrides)
    confusion_KK = np.array(found["classes"]["splits"][FOLD]["confusion"], np.int64)
    return FoldAccuracy(fold.number, ClassAccuracy(task.classes, confusion_KK), fold.learnt, fold.seen_subjects)


def _tested(cfg: Frozen, dataset: PackedDataset) -> dict[str, dict[str, int]]:
    table = dataset.labels(cfg.DATA.LABELS, cfg.DATA.TRAIN_SPLIT)
    tests_FM = fold_tests(table, list(face_rows(dataset.path)), build_fold_rule(cfg))
    return count_tests(tests_FM, table.label_M, table.classes)


def _report(folder: Path, found: Sequence[FoldAccuracy], result: dict[str, Any], dataset: PackedDataset) -> None:
    whole = len(found) == result["num_folds"]
    suffix = "" if whole else "_" + "_".join(str(fold.number) for fold in found)
    names = [f"folds{suffix}.json", f"confusion_folds{suffix}.csv", f"confusion_folds{suffix}.png"]
    with all_or_none([folder / name for name in names]) as (summary, table, picture):
        replace_json(summary, result)
        replace_text(table, confusion_text(sum_folds(found)))
        if can_plot():
            confusion_plot(sum_folds(found), f"{len(found)} folds by {result['by']}", picture)
        else:  # that of an earlier evaluation does not stay
            logger.info(f"{names.pop()}: not written, plots {INSTALL}")
    logger.info(
        f"\n{result['recipe']}: {len(found)} of {result['num_folds']} folds by '{result['by']}' of {result['split']}; "
        "% at the last iteration, no selection; seen subjects: test faces of subjects that are also in training"
    )
    logger.info(format_folds(found))
    if whole:
        logger.info(format_tests(result["tested"]))
    logger.info(f"\n{format_coverage(dataset.coverage)}\n{folder}: written: {', '.join(names)}")
