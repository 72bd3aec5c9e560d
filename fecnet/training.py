"""A training run: its folder, its parts put together from settings, training started or taken up again."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from fecnet.config.node import Frozen, dump_config, flatten, load_config, plain
from fecnet.data.build import build_augment, build_loader
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import (
    Checkpointer,
    find_checkpoint,
    load_meta,
    load_trainer,
    load_weights,
    make_folder,
    run_of,
)
from fecnet.engine.stepper import Stepper
from fecnet.engine.trainer import Periods, Progress, RunFiles, Trainer
from fecnet.inference import build_evaluator
from fecnet.modeling.build import build_model, per_channel
from fecnet.modeling.criterion.build import build_criterion
from fecnet.modeling.pretrained import load_pretrained
from fecnet.solver.build import (
    build_ema,
    build_gradient_rules,
    build_optimizer,
    build_schedule,
    length_in_iterations,
)
from fecnet.solver.gradient_rules import FiniteGuard
from fecnet.utils import comm, rendezvous
from fecnet.utils.env import choose_device, choose_precision, code_hash, keep_freed_memory, provenance
from fecnet.utils.files import replace_text
from fecnet.utils.logging import MetricsFile, TensorBoard, say
from fecnet.utils.signals import StopOnSignal

# What may differ when a run is taken up again; everything else decides what its iterations mean.
_FREE_ON_RESUME = (
    "OUTPUT_DIR",
    "NAME",
    "DEVICE",
    "DATA.PATH",  # the data may have moved; that they are the same is checked by what they say of themselves
    "DATA.PREPARE",
    "SOLVER.LENGTH",
    "EVAL.",
    "CHECKPOINT.",
    "LOG.",
    "DATA.REPORT_SPLITS",
)


def open_dataset(cfg: Frozen) -> PackedDataset:
    """The packed data set of ``cfg.DATA.PATH``, made first by ``cfg.DATA.PREPARE`` where it is absent."""
    path = Path(cfg.DATA.PATH)

    def make() -> None:
        if path.exists() or not cfg.DATA.PREPARE:
            return
        from fecnet.commands.prepare import prepare

        say(f"{path}: absent; making it: fecnet prepare {cfg.DATA.PREPARE} {path}")
        try:
            prepare([*shlex.split(cfg.DATA.PREPARE), str(path)])
        except SystemExit as error:  # argparse has said what is wrong with it
            raise ValueError(f"DATA.PREPARE: `fecnet prepare {cfg.DATA.PREPARE} {path}` is not a command") from error

    comm.from_main(make)
    dataset = PackedDataset(path)
    rendezvous.check_same("data", {f"{path}: {key}": value for key, value in flatten(dataset.description)})
    return dataset


def train_run(cfg: Frozen, *, recipe: str, resume: str = "") -> int:
    """Train as ``cfg`` says.

    Args:
        cfg: resolved settings.
        recipe: name of the recipe, which names the run where ``cfg.NAME`` is empty.
        resume: empty for a new run; ``auto`` for the newest run of this name and these settings where there is one,
            else a new one; or a run or checkpoint folder.

    Returns:
        0, or 128 + the signal that ended training early.

    Raises:
        ValueError: settings, data or a checkpoint that do not fit; an output folder that holds another run; a loss
            that is not finite; a full disk; ranks that are missing, or whose settings, data or code differ.
    """
    device = choose_device(cfg.DEVICE)
    if device.type == "cpu":
        keep_freed_memory()
    comm.start(device, {**dict(flatten(cfg)), "--resume": resume, "code": code_hash()})
    checkpoint = _find_resumed(cfg, recipe, resume)
    if checkpoint is not None and (problems := _fixed_differences(cfg, checkpoint)):
        raise ValueError("\n".join(problems))
    dataset = open_dataset(cfg)
    if checkpoint is not None:
        _check_same_data(checkpoint, dataset)
    torch.manual_seed(cfg.SEED)
    trainer = _build_trainer(cfg, dataset, device, checkpoint)  # what is wrong is found before anything is written
    run = comm.from_main(lambda: _run_folder(cfg, recipe, checkpoint, restart=resume == "auto"))
    files = _open_files(cfg, run, trainer.progress)
    say(f"{run}: {_summary(cfg, dataset, trainer, device)}")
    with StopOnSignal() as stop:
        try:
            ended_by = trainer.train(files, stop)
        finally:
            files.close()
    comm.barrier()
    if ended_by:
        say(
            f"{signal.Signals(ended_by).name}: saved iteration {trainer.progress.iteration}; go on with: "
            f"python train.py --resume {run}"
        )
        return 128 + ended_by
    progress = trainer.progress
    say(
        f"{run}: done in {progress.seconds:.0f} s; best {progress.best_accuracy:.1f} % on {cfg.DATA.EVAL_SPLITS[0]} "
        f"at iteration {progress.best_iteration}; measure it with: python inference.py {run}"
    )
    return 0


def _find_resumed(cfg: Frozen, recipe: str, resume: str) -> Path | None:
    """The checkpoint to go on from, the same on all ranks."""
    if not resume:
        return None
    if resume != "auto":
        return find_checkpoint(resume, "last")

    def newest() -> Path | None:
        runs = [Path(cfg.OUTPUT_DIR) / cfg.NAME] if cfg.NAME else numbered_runs(Path(cfg.OUTPUT_DIR), recipe)
        for run in reversed(runs):
            if (run / "checkpoints" / "last").is_file():
                checkpoint = find_checkpoint(run, "last")
                if cfg.NAME or not _fixed_differences(cfg, checkpoint):
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


def _run_folder(cfg: Frozen, recipe: str, checkpoint: Path | None, *, restart: bool) -> Path:
    """The folder of the run that goes on, or of a new one, with its settings written.

    Args:
        cfg: resolved settings.
        recipe: names the run where ``cfg.NAME`` is empty.
        checkpoint: of the run that goes on, or None.
        restart: take the folder of a run that ended before its first checkpoint, if there is one.

    Raises:
        ValueError: the folder holds another run, or cannot be written.
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
            hint = "--resume auto starts it anew" if _ended_early(run) else f"go on with --resume {run}"
            raise ValueError(f"{run}: holds another run; {hint}, or give another NAME")
        run.mkdir(parents=True, exist_ok=True)
        replace_text(run / "config.yaml", dump_config(cfg))
    make_folder(run / "checkpoints")
    return run


def _open_files(cfg: Frozen, run: Path, progress: Progress) -> RunFiles:
    """What the run writes to, cut back to where it goes on."""
    checkpointer = None
    if comm.is_main():
        checkpointer = Checkpointer(run / "checkpoints", keep=cfg.CHECKPOINT.KEEP)
        if progress.iteration:
            checkpointer.rewind(progress.iteration, progress.best_iteration)
    return RunFiles(
        checkpointer,
        MetricsFile(run / "metrics.jsonl", progress.iteration),
        TensorBoard(run / "tensorboard", progress.iteration, wanted=cfg.LOG.TENSORBOARD),
    )


def _summary(cfg: Frozen, dataset: PackedDataset, trainer: Trainer, device: torch.device) -> str:
    parameters = sum(parameter.numel() for parameter in trainer.stepper.model.parameters())
    precision = str(choose_precision(cfg.SOLVER.PRECISION, device)).removeprefix("torch.")
    going_on = f"going on after iteration {trainer.progress.iteration}; " if trainer.progress.iteration else ""
    return (
        f"{going_on}{cfg.MODEL.BACKBONE}, {parameters:,} parameters, {len(dataset.faces_NHWC):,} faces, {device}, "
        f"{precision}, {comm.world_size()} process(es)"
    )


def _fixed_differences(cfg: Frozen, checkpoint: Path) -> list[str]:
    """Where ``cfg`` differs from the settings of a checkpoint and may not, a line each."""
    before = dict(flatten(load_config(base=load_meta(checkpoint)["config"], base_name=f"{checkpoint}/meta.json")))
    return [
        f"{checkpoint}: cannot resume with another '{key}': {before[key]!r} there, {value!r} given"
        for key, value in flatten(cfg)
        if before[key] != value and not key.startswith(_FREE_ON_RESUME)
    ]


def _ended_early(run: Path) -> bool:
    """Whether a run ended before its first checkpoint: it has settings, or not even those, and nothing to keep."""
    visible = [path.name for path in run.iterdir() if not path.name.startswith(".")]
    return not (run / "checkpoints" / "last").exists() and (not visible or "config.yaml" in visible)


def _check_same_data(checkpoint: Path, dataset: PackedDataset) -> None:
    """Compare what the data set says of itself with what the checkpoint was trained on.

    Raises:
        ValueError: they differ.
    """
    meta = load_meta(checkpoint)
    before = dict(flatten({**meta["data"], "coverage": meta["coverage"]}))
    now = dict(flatten({**_describe_data(dataset), "coverage": dataset.coverage}))
    for key, value in before.items():
        if key != "name" and value != now.get(key):  # the folder may have been renamed
            raise ValueError(
                f"{checkpoint}: cannot resume with other data: '{key}' of the data set is {value!r} there, "
                f"{now.get(key)!r} in {dataset.path}"
            )


def _build_model(cfg: Frozen, dataset: PackedDataset, device: torch.device, *, resumed: bool) -> nn.Module:
    model: nn.Module = build_model(cfg, len(dataset.channels))
    if cfg.MODEL.PRETRAINED and not resumed:
        if not cfg.MODEL.PRETRAINED_ON:
            raise ValueError("MODEL.PRETRAINED_ON: empty; say what the file was trained on, checkpoints disclose it")
        report = load_pretrained(cast(nn.Module, model.backbone), cfg.MODEL.PRETRAINED)
        say(str(report))
        if report.converted and "mask" in dataset.channels and cfg.MODEL.FREEZE_BACKBONE:
            say("MODEL.FREEZE_BACKBONE: true; the mask's weights start at zero and stay so: the net will not see it")
    if cfg.SOLVER.SYNC_BN:
        if device.type != "cuda":
            raise ValueError(f"SOLVER.SYNC_BN: true needs GPUs, this run is on {device.type}; allowed here: false")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    memory_format = torch.channels_last if cfg.SOLVER.CHANNELS_LAST else torch.contiguous_format
    return model.to(device, memory_format=memory_format)  # type: ignore[call-overload]


def _build_trainer(cfg: Frozen, dataset: PackedDataset, device: torch.device, checkpoint: Path | None) -> Trainer:
    """All parts put together, as the checkpoint left them where there is one; nothing is written."""
    model = _build_model(cfg, dataset, device, resumed=checkpoint is not None)
    loader = build_loader(cfg, dataset, rank=comm.rank(), world_size=comm.world_size(), pin=device.type == "cuda")
    precision = choose_precision(cfg.SOLVER.PRECISION, device)
    periods = _periods(cfg, loader.sampler.iterations_per_epoch)
    stepper = Stepper(
        model,
        build_criterion(cfg).to(device),
        build_optimizer(cfg, model),
        build_schedule(cfg, loader.sampler.iterations_per_epoch),
        rules=build_gradient_rules(cfg),
        guard=FiniteGuard(device),
        average=build_ema(cfg, model),
        seed=cfg.SEED,
        precision=precision,
        compile_model=cfg.SOLVER.COMPILE,
        device=device,
    )
    trainer = Trainer(
        stepper,
        loader,
        build_augment(cfg, dataset.channels),
        build_evaluator(cfg, dataset, cfg.DATA.EVAL_SPLITS, device),
        meta={**_describe(cfg, dataset, device, precision), "length": periods.last},
        periods=periods,
    )
    if checkpoint is not None:
        load_weights(checkpoint, stepper.inference_model)
        trainer.load_state_dict(load_trainer(checkpoint))
    return trainer


def _periods(cfg: Frozen, iterations_per_epoch: int) -> Periods:
    def iterations(key: str, length: float) -> int:
        return length_in_iterations(length, cfg.SOLVER.UNIT, iterations_per_epoch, key=key)

    return Periods(
        last=iterations("SOLVER.LENGTH", cfg.SOLVER.LENGTH),
        log=cfg.LOG.PERIOD,
        evaluate=iterations("EVAL.PERIOD", cfg.EVAL.PERIOD),
        save=iterations("CHECKPOINT.PERIOD", cfg.CHECKPOINT.PERIOD),
    )


def _describe(cfg: Frozen, dataset: PackedDataset, device: torch.device, precision: torch.dtype) -> Mapping[str, Any]:
    """What a checkpoint says of itself, so that it can be used without its run."""
    return {
        "kind": "embedding",
        "preprocessing": {
            "height": dataset.description["height"],
            "width": dataset.description["width"],
            "channels": dataset.channels,
            "crop": cfg.DATA.CROP,
            "input_size": cfg.DATA.INPUT_SIZE,
            "mean": per_channel(cfg.MODEL.MEAN, len(dataset.channels), mask=0.0, key="MODEL.MEAN"),
            "std": per_channel(cfg.MODEL.STD, len(dataset.channels), mask=1.0, key="MODEL.STD"),
        },
        "pretraining": cfg.MODEL.PRETRAINED_ON or None,
        "data": _describe_data(dataset),
        "coverage": dataset.coverage,
        "config": plain(cfg),
        "provenance": {**provenance(device), "precision": str(precision).removeprefix("torch.")},
    }


def _describe_data(dataset: PackedDataset) -> dict[str, Any]:
    """What tells a data set from another, wherever it lies."""
    return {key: dataset.description[key] for key in ("name", "sources", "num_faces", "splits")}
