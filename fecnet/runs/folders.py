"""Run folders: a new one, one to resume, and what must not change on resuming."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fecnet.config.node import Frozen, dump_config, flatten
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_info, run_of
from fecnet.engine.checkpointer import make_folder
from fecnet.engine.description import CheckpointInfo, DataInfo
from fecnet.utils import comm
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.files import replace_text
from fecnet.utils.in_place import flush_folder, make_folders
from fecnet.utils.shown import shown
from fecnet.utils.typed_json import from_json, to_json

# Settings that may change on resuming; everything else changes what the run trains.
_FREE_ON_RESUME = (
    "OUTPUT_DIR",
    "NAME",
    "DEVICE",
    "DATA.PATH",  # the data may have moved; their identity is checked by their description
    "DATA.SOURCE",
    "DATA.CACHE_ON_DEVICE",
    "SOLVER.LENGTH",
    "EVAL.PERIOD",
    "EVAL.BATCH_SIZE",
    "CHECKPOINT.",
    "LOG.",
    "DATA.REPORT_SPLITS",
)


def find_resumed(cfg: Frozen, recipe: str, resume: str) -> Path | None:
    """The checkpoint to resume from, the same on all ranks; None for a new run."""
    if not resume:
        return None
    if resume != "auto":
        return find_checkpoint(resume, "last")

    def newest() -> Path | None:
        runs = [Path(cfg.OUTPUT_DIR) / cfg.NAME] if cfg.NAME else numbered_runs(Path(cfg.OUTPUT_DIR), recipe)
        for run in reversed(runs):
            if (run / "checkpoints" / "last").is_file():
                checkpoint = find_checkpoint(run, "last")
                if cfg.NAME or not fixed_differences(cfg, load_info(checkpoint)):
                    return checkpoint
        return None

    return comm.from_main(newest)


def numbered_runs(folder: Path, recipe: str) -> list[Path]:
    """Runs ``recipe``, ``recipe-2``, ``recipe-3``, … in ``folder``, in order."""
    found = [path for path in folder.glob(f"{recipe}*") if path.name == recipe or _number(path, recipe)]
    return sorted(found, key=lambda path: _number(path, recipe))


def _number(path: Path, recipe: str) -> int:
    suffix = path.name.removeprefix(f"{recipe}-")
    return int(suffix) if suffix.isdigit() else 0


def run_folder(cfg: Frozen, recipe: str, checkpoint: Path | None, *, restart: bool) -> Path:
    """The folder of the resumed run, or of a new one with its settings written.

    Args:
        cfg: resolved settings.
        recipe: names the run where ``cfg.NAME`` is empty.
        checkpoint: checkpoint of the resumed run, or None.
        restart: reuse the folder of a run that ended before its first checkpoint, if there is one.

    Raises:
        UserError: the folder contains another run, or cannot be written.
    """
    if checkpoint is not None:
        run = run_of(checkpoint)
    else:
        folder = Path(cfg.OUTPUT_DIR)
        taken = numbered_runs(folder, recipe)
        run = folder / (cfg.NAME or (f"{recipe}-{max(1, _number(taken[-1], recipe)) + 1}" if taken else recipe))
        if restart and not cfg.NAME and taken and _ended_early(taken[-1]):
            run = taken[-1]
        if run.exists() and any(run.iterdir()) and not (restart and _ended_early(run)):
            hint = "--resume auto restarts it" if _ended_early(run) else f"resume it with --resume {run}"
            raise UserError(f"{run}: holds another run; {hint}, or give another NAME")
        make_folders(run)
        replace_text(run / "config.yaml", dump_config(cfg))
        flush_folder(run)
    make_folder(run / "checkpoints")
    return run


def fixed_differences(cfg: Frozen, info: CheckpointInfo) -> list[str]:
    """Settings of ``cfg`` that differ from a checkpoint although resuming requires equal ones, one line each."""
    before = dict(flatten(info.settings()))
    return [
        f"{info.place}: cannot resume with another '{key}': {shown(before[key])} there, {shown(value)} given"
        for key, value in flatten(cfg)
        if before[key] != value and not key.startswith(_FREE_ON_RESUME)
    ]


def _ended_early(run: Path) -> bool:
    """Whether a run ended before its first checkpoint, so that its folder has nothing worth keeping."""
    visible = [path.name for path in run.iterdir() if not path.name.startswith(".")]
    return not (run / "checkpoints" / "last").exists() and (not visible or "config.yaml" in visible)


def check_same_data(info: CheckpointInfo, dataset: PackedDataset) -> None:
    """Compare the data set's description with that of the checkpoint's training data.

    Raises:
        UserError: they differ.
    """
    differences = data_differences(info, dataset)
    if differences:
        key, before, now = differences[0]
        raise UserError(
            f"{info.place}: cannot resume with other data: '{key}' of the data set is {shown(before)} there, "
            f"{shown(now)} in {dataset.path}"
        )


def data_differences(info: CheckpointInfo, dataset: PackedDataset) -> list[tuple[str, Any, Any]]:
    """Differences between a data set and that of a checkpoint: key, value in the checkpoint, value here."""
    before = data_facts(info.data, info.coverage)
    now = data_facts(describe_data(dataset), dataset.coverage)
    return [(key, value, now.get(key)) for key, value in before.items() if value != now.get(key)]


def data_facts(data: DataInfo, coverage: Mapping[str, Any]) -> dict[str, Any]:
    """The description that must be equal, by dotted key; without the name, since a folder may be renamed."""
    described = dict(flatten({**to_json(data), "coverage": coverage}))
    described.pop("name")
    return described


def check_widths(cfg: Frozen, info: CheckpointInfo) -> None:
    """Check that ``cfg`` has the layer widths of the checkpoint's net.

    Raises:
        UserError: it has others.
    """
    before, now = list(info.settings().MODEL.LAYER_CHANNELS), list(cfg.MODEL.LAYER_CHANNELS)
    if before != now:
        own = f"a net with {before}; give these" if before else "not of a pruned net; allowed: empty"
        raise ConfigError(f"MODEL.LAYER_CHANNELS: {now or 'empty'}; {info.place} is {own}")


def check_trained(info: CheckpointInfo) -> None:
    """Check that a run was trained: a run that was only pruned cannot be resumed.

    Raises:
        UserError: it was only pruned.
    """
    if info.pruned is not None:
        run = run_of(Path(info.place))
        raise UserError(
            f"{run}: pruned and not trained since: nothing to resume; fine-tune it with: fecnet train {run}/config.yaml"
        )


def describe_data(dataset: PackedDataset) -> DataInfo:
    """The identity of a data set, independent of its path: its description and the hash of its pixels.

    Raises:
        UserError: ``dataset.json`` lacks a part of it.
    """
    keys = ("name", "sources", "num_faces", "splits", "height", "width", "channels")
    described = {key: dataset.description[key] for key in keys if key in dataset.description}
    described["faces_sha256"] = dataset.faces_sha256
    return from_json(DataInfo, described, f"{dataset.path}/dataset.json")
