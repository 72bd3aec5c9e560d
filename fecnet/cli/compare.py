"""``fecnet compare``: settings × seeds of one recipe: learning curves, metrics, confidence intervals."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

if TYPE_CHECKING:
    from fecnet.studies.scheduler import PlannedRun

_EPILOG = """examples:
  fecnet compare fer2013_deep_emotion result/schedules SOLVER.LENGTH 30 --jobs 2 \\
      --setting cosine SOLVER.SCHEDULE cosine --setting step SOLVER.SCHEDULE step --seeds 3
  fecnet compare result/schedules                 all finished runs of a folder
  fecnet compare result/one result/two --output result/comparison
"""
_OWN = ("NAME", "OUTPUT_DIR", "SEED")  # keys that the command sets for each run


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN",
        help="finished runs or folders of runs; with --setting: RECIPE FOLDER [KEY VALUE …], trained in FOLDER",
    )
    train = parser.add_argument_group("training the runs")
    train.add_argument(
        "--setting",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "KEY VALUE"),
        help="name of a setting and its overrides; repeat for each setting",
    )
    train.add_argument("--seeds", type=_positive, default=3, help="seeds per setting: SEED 0, 1, … (default 3)")
    train.add_argument("--jobs", type=_positive, default=1, help="concurrent runs (default 1)")
    train.add_argument(
        "--devices",
        type=lambda text: text.split(","),
        default=[],
        metavar="0,1",
        help="GPUs, one concurrent run on each, instead of --jobs",
    )
    parser.add_argument(
        "--split",
        default="",
        help="split to compare on; one that was not measured while training is measured from the checkpoints (default: "
        "the last of DATA.EVAL_SPLITS that selects no checkpoint)",
    )
    parser.add_argument("--metric", default="", help="metric to compare (default: that of the selection)")
    parser.add_argument("--output", type=Path, help="folder of comparison.json and .png (default: that of the runs)")
    parser.set_defaults(run=_compare)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{shown(text)}; allowed: 1 or more")
    return int(text)


def _compare(options: argparse.Namespace) -> int:
    from fecnet.evaluation.comparison import student_t
    from fecnet.evaluation.drawing import INSTALL, can_plot
    from fecnet.studies.comparing import compare_runs

    if not can_plot():  # reported before anything is trained
        raise UserError(f"learning curves {INSTALL}")
    student_t(0.95, 1)
    if options.setting:
        folders = _train(options)
    else:
        from fecnet.studies.compared_runs import find_run_folders

        folders = find_run_folders([Path(word) for word in options.words])
    output = options.output or _folder_of(folders)
    print(compare_runs(folders, output, split=options.split, metric=options.metric))
    return 0


def _train(options: argparse.Namespace) -> list[Path]:
    """Train every setting with every seed; the folders of the runs."""
    from fecnet.config.recipes import find_recipe
    from fecnet.studies.scheduler import train_all

    if len(options.words) < 2:
        raise UserError("--setting: needs RECIPE FOLDER before it: what is trained, and where the runs go")
    recipe, folder, *common = options.words
    path = find_recipe(recipe)
    runs = plan_runs(path, options.setting, common, seeds=options.seeds)
    train_all(path, runs, Path(folder), jobs=options.jobs, devices=options.devices)
    return [Path(folder) / run.name for run in runs]


def plan_runs(
    recipe: Path, settings: Sequence[Sequence[str]], common: Sequence[str], *, seeds: int
) -> list[PlannedRun]:
    """A run for each seed and setting, seed by seed, so that settings have equally many runs after an interruption.

    Args:
        recipe: YAML recipe.
        settings: for each setting, its name and its ``KEY VALUE …``.
        common: ``KEY VALUE …`` of all settings.
        seeds: number of seeds; the first is 0.

    Raises:
        UserError: settings with one name or the same values, a key that the command sets itself, or a wrong value.
    """
    from fecnet.config.node import flatten, load_config
    from fecnet.studies.scheduler import PlannedRun

    resolved: dict[str, Mapping[str, object]] = {}
    for name, *overrides in settings:
        if name in resolved or not name or Path(name).name != name:
            raise UserError(f"--setting {shown(name)}: expected one folder name, another for each setting")
        if owned := sorted({*common[::2], *overrides[::2]} & {*_OWN}):
            raise UserError(f"--setting {name}: {owned[0]} is set for each run; allowed: other keys")
        values = dict(flatten(load_config(recipe, [*common, *overrides])))
        if same := next((other for other, known in resolved.items() if known == values), None):
            raise UserError(f"--setting {name}: the same settings as '{same}'; allowed: settings that differ")
        resolved[name] = values
    return [
        PlannedRun(f"{name}-seed{seed}", (*common, *overrides, "SEED", str(seed)))
        for seed in range(seeds)
        for name, *overrides in settings
    ]


def _folder_of(runs: Sequence[Path]) -> Path:
    folders = {run.resolve().parent: run.parent for run in runs}
    if len(folders) > 1:
        raise UserError(f"--output: the runs lie in {len(folders)} folders; say where comparison.json and .png go")
    return next(iter(folders.values()))
