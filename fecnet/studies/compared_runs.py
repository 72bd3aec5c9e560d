"""Reads trained runs for a comparison, checks that they are comparable, groups them by settings."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fecnet.config.node import flatten
from fecnet.runs.folders import check_trained, data_facts
from fecnet.runs.run import Run, is_run
from fecnet.studies.measured_splits import measured_metrics
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

# Names, paths, saving and logging: not compared.
_NO_SETTING = (
    "SEED",
    "NAME",
    "OUTPUT_DIR",
    "DEVICE",
    "DATA.PATH",  # the data's identity is checked by their description
    "DATA.SOURCE",
    "DATA.REPORT_SPLITS",
    "EVAL.BATCH_SIZE",
    "CHECKPOINT.",
    "LOG.",
)
# Settings that decide what metrics are computed on: runs with different values are not comparable.
_SAME = ("DATA.LABELS", "DATA.HOLD_OUT", "DATA.FOLD", "DATA.EVAL_SPLITS", "DATA.EVAL_MIN_VOTE_SHARE")
_SAME_OF_FOLDS = ("DATA.FOLD_BY", "DATA.NUM_FOLDS", "DATA.FOLD_SEED", "DATA.TRAIN_SPLIT")  # if a fold is held out
_MADE_ON = ("commit", "torch", "device", "precision")  # reported if different, since they change metrics too


@dataclass(frozen=True)
class ComparedRun(Run):
    """A finished run; its ``best`` checkpoint is compared: the selected one, else the last."""

    @cached_property
    def values(self) -> dict[str, Any]:
        """All settings by dotted key."""
        return dict(flatten(self.config))

    @property
    def seed(self) -> int:
        """``SEED``."""
        return int(self.values["SEED"])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that are compared, without the seed."""
        return {key: value for key, value in self.values.items() if not key.startswith(_NO_SETTING)}

    @property
    def iterations_per_epoch(self) -> float | None:
        """None where the run's lengths are in iterations."""
        if self.values["SOLVER.UNIT"] != "epoch":
            return None
        return float(self.best.length / self.values["SOLVER.LENGTH"])

    @property
    def selecting(self) -> tuple[str, str]:
        """The split and the metric that selected the checkpoint; empty where nothing did."""
        selection = self.best.selection
        return (selection.split, selection.figure) if selection else ("", "")

    def metric(self, split: str, name: str) -> float:
        """A metric of the compared checkpoint, %; computed now for a split that was not evaluated in training.

        Raises:
            UserError: it was not evaluated, or cannot be.
        """
        iteration, found = self.best.iteration, self._metrics(split)
        value = found.get(name)
        if value is None:
            known = ", ".join(sorted(key for key, value in found.items() if value is not None))
            raise UserError(
                f"{self.path}: no metric '{name}' of '{split}' at iteration {iteration}; "
                f"evaluated there: {known or 'nothing, or its embedding has collapsed'}"
            )
        return value

    def _metrics(self, split: str) -> Mapping[str, float | None]:
        """The metrics of a split by name."""
        if split not in self.values["DATA.EVAL_SPLITS"]:
            return measured_metrics(self, split)
        iteration = self.best.accuracy.iteration if self.best.accuracy else 0
        start = f"{split}/"
        return {
            name.removeprefix(start): curve[iteration]
            for name, curve in self.curves.items()
            if name.startswith(start) and iteration in curve
        }


def read_run(path: Path) -> ComparedRun:
    """A finished run.

    Raises:
        UserError: no run, an unfinished one, one that was only pruned, or a number that is not finite.
    """
    run = ComparedRun(path)
    check_trained(run.last)
    if not run.last.is_finished:
        raise UserError(
            f"{path}: unfinished, at iteration {run.last.iteration} of {run.last.length}; "
            f"finish it with: fecnet train --resume {path}"
        )
    _ = run.values, run.curves  # fail now if they are damaged
    return run


def find_run_folders(paths: Sequence[Path]) -> list[Path]:
    """The given runs, and those inside other folders except runs that were only pruned; each once.

    Raises:
        UserError: a folder contains no run.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if is_run(path) else _runs_inside(path)
        if not inside:
            raise UserError(
                f"{path}: no run here; expected a run folder or a folder of runs (a recipe: with --setting)"
            )
        found |= {run.resolve(): run for run in inside}
    return list(found.values())


def _runs_inside(folder: Path) -> list[Path]:
    runs = sorted(child for child in folder.glob("*/") if is_run(child))
    only_pruned = [run for run in runs if Run(run).has_checkpoint and Run(run).last.pruned is not None]
    for run in only_pruned:
        logger.info(f"{run}: left out: pruned, and not trained since")
    return [run for run in runs if run not in only_pruned]


def group_runs(runs: Sequence[ComparedRun]) -> dict[str, dict[int, ComparedRun]]:
    """The runs by name of their setting and by seed.

    A setting is named after its runs' folders without ``-seed<SEED>`` if they agree, else by the keys that differ.

    Raises:
        UserError: runs with different classes or data, or with the same settings and seed.
    """
    for run in runs[1:]:
        check_comparable(runs[0], run)
    differing = _differing_keys(runs)
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        groups.setdefault(_described(run, differing), []).append(run)
    named = {_folder_name(group): group for group in groups.values()}
    chosen = groups if "" in named or len(named) < len(groups) else named
    return {name: _by_seed(group) for name, group in chosen.items()}


def check_comparable(first: ComparedRun, other: ComparedRun) -> None:
    """Check that two runs are comparable.

    Raises:
        UserError: they are not; the message says what differs.
    """
    pairs: list[tuple[str, Any, Any]] = [("classes", first.best.classes, other.best.classes)]
    before, now = (data_facts(run.best.data, run.best.coverage) for run in (first, other))
    pairs += [(f"data '{key}'", before.get(key), now.get(key)) for key in dict.fromkeys([*before, *now])]
    keys = _SAME + (_SAME_OF_FOLDS if first.values["DATA.FOLD"] else ())
    pairs += [(f"'{key}'", first.values[key], other.values[key]) for key in keys]
    for what, one, two in pairs:
        if one != two:
            raise UserError(f"not comparable: {what} is {shown(one)} in {first.path}, {shown(two)} in {other.path}")


def made_differently(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
    """Differences of code and hardware between runs: key and values."""
    found = {key: sorted({str(getattr(run.best.provenance, key)) for run in runs}) for key in _MADE_ON}
    return {key: values for key, values in found.items() if len(values) > 1}


def common_curve(runs: Mapping[int, ComparedRun], name: str) -> Iterator[tuple[int, list[float]]]:
    """A curve at the iterations that all ``runs`` have: one value per run."""
    curves = [run.curves.get(name, {}) for run in runs.values()]
    for iteration in sorted(set.intersection(*(set(curve) for curve in curves))):
        yield iteration, [curve[iteration] for curve in curves]


def _differing_keys(runs: Sequence[ComparedRun]) -> list[str]:
    return [key for key, value in runs[0].settings.items() if any(run.settings[key] != value for run in runs)]


def _described(run: ComparedRun, keys: Sequence[str]) -> str:
    """The settings in which a run differs from others, such as ``SCHEDULE cosine``."""
    last = [key.rsplit(".")[-1] for key in keys]
    short = [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]
    return ", ".join(f"{name} {run.values[key]}" for name, key in zip(short, keys, strict=True)) or "all runs"


def _folder_name(group: Sequence[ComparedRun]) -> str:
    """The common name of the folders of one setting without the seed; empty where they disagree."""
    names = {_without_seed(run) for run in group}
    return names.pop() if len(names) == 1 else ""


def _without_seed(run: ComparedRun) -> str:
    found = re.fullmatch(rf"(.+)-seed{run.seed}", run.path.resolve().name)
    return found[1] if found else ""


def _by_seed(group: Sequence[ComparedRun]) -> dict[int, ComparedRun]:
    found: dict[int, ComparedRun] = {}
    for run in group:
        if run.seed in found:
            raise UserError(
                f"{run.path}: the same settings and SEED {run.seed} as {found[run.seed].path}; a seed counts once"
            )
        found[run.seed] = run
    return dict(sorted(found.items()))
