"""Opens the net of a checkpoint with its data, ready to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fecnet.config.node import Frozen, flatten
from fecnet.data.folds import FOLD
from fecnet.data.label_splits import CUT_BY, HOLD_OUT
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import load_info
from fecnet.engine.checkpointer import load_weights
from fecnet.engine.description import CheckpointInfo
from fecnet.engine.evaluator import Evaluator
from fecnet.modeling.build import build_model
from fecnet.runs.folders import check_widths
from fecnet.runs.tasks import Task, build_evaluator, check_classes, find_task
from fecnet.utils import comm, rendezvous
from fecnet.utils.env import choose_device, code_hash
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.memory import keep_freed_memory
from fecnet.utils.shown import shown


@dataclass(frozen=True, eq=False)
class OpenedNet:
    """A net, its data, and the evaluator of the requested splits.

    Attributes:
        folder: folder of the checkpoint.
        info: its description.
        cfg: its settings with the overrides.
        trained: the settings that it was trained with.
        dataset: the packed data set.
        task: what the net is trained on.
        splits: the splits that are evaluated.
        device: device of the model.
        evaluator: evaluator of the splits.
        model: the model with the weights of the checkpoint.
    """

    folder: Path
    info: CheckpointInfo
    cfg: Frozen
    trained: Frozen
    dataset: PackedDataset
    task: Task
    splits: list[str]
    device: torch.device
    evaluator: Evaluator
    model: nn.Module


def open_net(folder: Path, *, splits: Sequence[str] = (), overrides: Sequence[str] = ()) -> OpenedNet:
    """Open a checkpoint, and the data to evaluate it on.

    Args:
        folder: folder of the checkpoint.
        splits: splits of triplets or labels; empty for ``DATA.REPORT_SPLITS``.
        overrides: ``KEY VALUE`` pairs, such as ``DATA.PATH``.

    Raises:
        UserError: no checkpoint, or one that does not fit the data or the code.
    """
    info = load_info(folder)
    cfg, trained = info.settings(overrides), info.settings()
    device = choose_device(cfg.DEVICE)
    comm.start(device, {**dict(flatten(cfg)), "checkpoint": folder, "code": code_hash()})
    dataset = PackedDataset(cfg.DATA.PATH)
    rendezvous.check_same("data", {f"{dataset.path}: {key}": value for key, value in flatten(dataset.description)})
    task = find_task(cfg, dataset)
    splits = list(splits) or list(cfg.DATA.REPORT_SPLITS)
    _check_hold_out(cfg, trained, splits)
    _check_fit(info, dataset, task)
    check_widths(cfg, info)
    evaluator = build_evaluator(cfg, dataset, splits, device, task=task, progress=True)
    model = build_model(cfg, len(dataset.channels), len(task.classes), task.extra_sizes).to(device)
    load_weights(folder, model)
    if device.type == "cpu":
        keep_freed_memory()
    return OpenedNet(folder, info, cfg, trained, dataset, task, splits, device, evaluator, model)


def _check_hold_out(cfg: Frozen, trained: Frozen, splits: Sequence[str]) -> None:
    """Check the hold-out or fold: with other settings than in training it would contain training faces.

    Raises:
        UserError: a part of the training split is evaluated, and it was divided differently in training.
    """
    parts = (HOLD_OUT, FOLD, trained.DATA.TRAIN_SPLIT)
    if not any(data.HOLD_OUT or data.FOLD for data in (cfg.DATA, trained.DATA)) or not set(parts) & set(splits):
        return
    for key in CUT_BY:
        if cfg.DATA[key] != trained.DATA[key]:
            raise ConfigError(
                f"DATA.{key}: {shown(cfg.DATA[key])}, trained with {shown(trained.DATA[key])}: "
                "it decides which faces were held "
                f"out; allowed with other values: splits other than {', '.join(parts)}"
            )


def _check_fit(info: CheckpointInfo, dataset: PackedDataset, task: Task) -> None:
    if info.kind != task.kind:
        raise UserError(f"{info.place}: kind '{info.kind}'; LOSS.CRITERIA asks for '{task.kind}'")
    for key in ("channels", "height", "width"):
        wanted, found = getattr(info.preprocessing, key), dataset.description[key]
        if wanted != found:
            raise UserError(f"{dataset.path}: {key} {found}; {info.place} was trained on {wanted}")
    check_classes(info, dataset, task)
