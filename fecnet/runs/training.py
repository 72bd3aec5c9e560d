"""A training run: builds its parts from the settings, starts or resumes training, and writes its folder."""

from __future__ import annotations

import logging
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from fecnet.config.node import Frozen, flatten, plain
from fecnet.data.build import build_augment, build_class_weights, build_labels, build_loader
from fecnet.data.label_overlay import LabelOverlay
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import RaterAnswers
from fecnet.engine.checkpoint import load_info
from fecnet.engine.checkpointer import Checkpointer, load_weights, restore_trainer
from fecnet.engine.description import CHECKPOINT_FORMAT, CheckpointInfo, Preprocessing, Provenance
from fecnet.engine.stepper import CUDA_GRAPHS, Criterion, Measure, Stepper
from fecnet.engine.trainer import CHOICE_SCALE, SPREAD, Periods, Progress, RunFiles, Trainer
from fecnet.evaluation.batch_accuracy import count_correct
from fecnet.evaluation.spread import sum_distances
from fecnet.modeling.backbone.timm_net import with_sync_batch_norm
from fecnet.modeling.build import build_model, per_channel
from fecnet.modeling.criterion.build import build_criterion
from fecnet.modeling.criterion.choice import find_choice
from fecnet.modeling.deviation_net import DeviationNet
from fecnet.modeling.models import ExpressionNet
from fecnet.pruning.slimming import absolute_scales, scale_names
from fecnet.runs.elastic import process_change
from fecnet.runs.folders import (
    check_same_data,
    check_trained,
    describe_data,
    find_resumed,
    fixed_differences,
    run_folder,
)
from fecnet.runs.hard_triplets import build_hard_triplets
from fecnet.runs.pretraining import disclose_pretraining, load_start
from fecnet.runs.tasks import Task, build_evaluator, check_batch_norm, check_classes, find_task, selection_metric
from fecnet.runs.teachers import check_teachers, learn_from_teachers
from fecnet.runs.trained_data import log_hold_out, log_labels, log_votes, read_answers
from fecnet.solver.build import (
    build_ema,
    build_gradient_rules,
    build_optimizer,
    build_schedule,
    length_in_iterations,
)
from fecnet.solver.gradient_rules import FiniteGuard
from fecnet.utils import comm, rendezvous
from fecnet.utils.env import (
    PRECISIONS,
    bf16_speed,
    choose_device,
    choose_precision,
    code_hash,
    now,
    provenance,
    why_no_compile,
)
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.files import hash_file
from fecnet.utils.logging import MetricsFile, TensorBoard
from fecnet.utils.memory import keep_freed_memory
from fecnet.utils.program import command_line
from fecnet.utils.signals import StopOnSignal

logger = logging.getLogger(__name__)


def open_dataset(cfg: Frozen) -> PackedDataset:
    """The packed data set of ``cfg.DATA.PATH``; where it is absent, it is made from ``cfg.DATA.SOURCE`` first."""
    path = Path(cfg.DATA.PATH)

    def make() -> None:
        if path.exists() or not cfg.DATA.SOURCE:
            return
        from fecnet.prepare.build import make_dataset

        logger.info(f"{path}: absent; making it: fecnet prepare {cfg.DATA.SOURCE} {path}")
        make_dataset(cfg.DATA.SOURCE, path)

    comm.from_main(make)
    dataset = PackedDataset(path)
    rendezvous.check_same("data", {f"{path}: {key}": value for key, value in flatten(dataset.description)})
    return dataset


def train_run(cfg: Frozen, *, recipe: str, resume: str = "") -> int:
    """Train a run.

    Args:
        cfg: resolved settings.
        recipe: name of the recipe, which names the run where ``cfg.NAME`` is empty.
        resume: empty for a new run; ``auto`` for the newest run of this name and these settings where there is one,
            else a new one; or a run or checkpoint folder.

    Returns:
        0, or 128 + the signal that ended training early.

    Raises:
        UserError: settings, data or a checkpoint that do not fit; an output folder with another run; a loss that is not
            finite; a full disk; ranks that are missing, or whose settings, data or code differ.
    """
    device = choose_device(cfg.DEVICE)
    comm.start(device, {**dict(flatten(cfg)), "--resume": resume, "code": code_hash()})
    checkpoint = find_resumed(cfg, recipe, resume)
    resumed = None if checkpoint is None else load_info(checkpoint)
    if resumed is not None:
        check_trained(resumed)
        if problems := fixed_differences(cfg, resumed):
            raise UserError("\n".join(problems))
    dataset = open_dataset(cfg)
    task = find_task(cfg, dataset)
    _check_same_confusion(cfg)
    check_teachers(cfg, task)
    if resumed is not None:
        check_same_data(resumed, dataset)
        check_classes(resumed, dataset, task)
    torch.manual_seed(cfg.SEED)
    # All checks come before anything is written.
    trainer = build_trainer(cfg, dataset, task, device, checkpoint)
    if trainer.progress.iteration > trainer.length:
        raise ConfigError(
            f"SOLVER.LENGTH: {trainer.length} iterations, but {checkpoint} is at iteration "
            f"{trainer.progress.iteration}; allowed: as many or more"
        )
    run = comm.from_main(lambda: run_folder(cfg, recipe, checkpoint, restart=resume == "auto"))
    files = _open_files(cfg, run, trainer.progress)
    logger.info(f"{run}: {_summary(cfg, dataset, trainer, device)}")
    if resumed is not None:
        before, model = resumed.provenance.world_size, trainer.stepper.model
        if change := process_change(before, comm.world_size(), cfg.SOLVER.BATCH_SIZE, model):
            logger.info(f"{run}: {change}")
    if device.type == "cpu":
        keep_freed_memory()
    with StopOnSignal() as stop:
        try:
            ended_by = trainer.train(files, stop)
        finally:
            files.close()
    comm.barrier()
    if ended_by:
        logger.info(
            f"{signal.Signals(ended_by).name}: saved iteration {trainer.progress.iteration}; resume it with: "
            f"fecnet train --resume {run}"
        )
        return 128 + ended_by
    progress = trainer.progress
    best = f"{'no evaluation' if trainer.selects else 'no split'} selects, the last iteration is used"
    if progress.best_iteration is not None:
        best = (
            f"best {progress.best_accuracy:.1f} % on {cfg.DATA.EVAL_SPLITS[0]} at iteration {progress.best_iteration}"
        )
    logger.info(f"{run}: done in {progress.seconds:.0f} s; {best}; evaluate it with: fecnet evaluate {run}")
    return 0


def _check_same_confusion(cfg: Frozen) -> None:
    """Check that all ranks read the same confusion matrix: the setting is only its path."""
    path = Path(cfg.LOSS.WASSERSTEIN_CONFUSION)
    if cfg.LOSS.WASSERSTEIN_CONFUSION:
        content = hash_file(path) if path.is_file() else "absent"
        rendezvous.check_same("confusion", {f"LOSS.WASSERSTEIN_CONFUSION '{path}'": content})


def _open_files(cfg: Frozen, run: Path, progress: Progress) -> RunFiles:
    """The files the run writes to, truncated to the resumed iteration."""
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
    precision = str(trainer.stepper.precision).removeprefix("torch.")
    if cfg.SOLVER.PRECISION == "auto" and device.type == "cpu":
        precision += f" (here bf16 multiplies matrices {bf16_speed():.2g} × as fast as fp32)"
    resumed = f"resumed after iteration {trainer.progress.iteration}; " if trainer.progress.iteration else ""
    return (
        f"{resumed}{cfg.MODEL.BACKBONE}, {parameters:,} parameters, {len(dataset.faces_NHWC):,} faces, {device}, "
        f"{precision}, {comm.world_size()} process(es)"
    )


def _build_model(cfg: Frozen, dataset: PackedDataset, task: Task, device: torch.device, *, resumed: bool) -> nn.Module:
    model: nn.Module = build_model(cfg, len(dataset.channels), len(task.classes), task.extra_sizes)
    if not resumed and (cfg.MODEL.PRETRAINED or isinstance(model, DeviationNet)):
        load_start(cfg, cast(ExpressionNet, model), dataset, task)
    if cfg.SOLVER.SYNC_BN:
        if device.type != "cuda":
            raise ConfigError(f"SOLVER.SYNC_BN: true needs GPUs, this run is on {device.type}; allowed here: false")
        model = with_sync_batch_norm(model)
    memory_format = torch.channels_last if cfg.SOLVER.CHANNELS_LAST else torch.contiguous_format
    return model.to(device, memory_format=memory_format)  # type: ignore[call-overload]


def build_trainer(
    cfg: Frozen, dataset: PackedDataset, task: Task, device: torch.device, checkpoint: Path | None
) -> Trainer:
    """Build the trainer, with the state of the checkpoint if there is one; nothing is written."""
    labels = build_labels(cfg, dataset, task.targets) if task.targets else None
    if labels is not None:
        log_labels(cfg, task, labels)
        learn_from_teachers(cfg, dataset, labels, device)
    if task.triplets and cfg.DATA.HOLD_OUT:
        log_hold_out(cfg, dataset)
    answers = read_answers(cfg, dataset) if task.answers else None
    model = _build_model(cfg, dataset, task, device, resumed=checkpoint is not None)
    loader = build_loader(
        cfg,
        dataset,
        labels,
        rank=comm.rank(),
        world_size=comm.world_size(),
        device=device,
        triplets=task.triplets,
        answers=answers,
    )
    check_batch_norm(model, loader.smallest_batch)
    epoch = loader.sampler.iterations_per_epoch
    criterion = _build_criterion(cfg, task, labels, answers, epoch).to(device)
    resumed = None if checkpoint is None else load_info(checkpoint)
    precision = _choose_precision(cfg, device, resumed)
    periods = _periods(cfg, epoch)
    scales = _trained_scales(model)
    choice = find_choice(criterion)
    if choice is not None and not task.answers:
        log_votes(cfg, dataset)
    stepper = Stepper(
        model,
        cast(Criterion, criterion),
        build_optimizer(cfg, model, criterion),
        build_schedule(cfg, epoch),
        rules=build_gradient_rules(cfg, scales),
        guard=FiniteGuard(device),
        average=build_ema(cfg, model),
        seed=cfg.SEED,
        precision=precision,
        compile_mode=_compile_mode(cfg, device),
        accumulates=cfg.SOLVER.GRAD_ACCUM_STEPS > 1,
        device=device,
        measures=_measures(task, criterion),
    )
    trainer = Trainer(
        stepper,
        loader,
        build_augment(cfg, dataset.channels),
        build_evaluator(cfg, dataset, cfg.DATA.EVAL_SPLITS, device, task=task),
        info=replace(
            _describe(cfg, dataset, task, device, precision),
            pretraining=disclose_pretraining(cfg, resumed),
            length=periods.last,
        ),
        periods=periods,
        select=selection_metric(cfg, task),
        labels=labels,
        scales=partial(absolute_scales, names=scales) if cfg.SOLVER.BN_L1 else None,
        choice_scale=None if choice is None else lambda: choice.scale.item(),
        hard_triplets=build_hard_triplets(cfg, dataset, loader.sampler, periods, device, choices=choice is not None),
    )
    if checkpoint is not None and resumed is not None:
        load_weights(checkpoint, stepper.inference_model)
        restore_trainer(checkpoint, trainer.load_state_dict, resumed.iteration)
    return trainer


def _measures(task: Task, criterion: nn.Module) -> dict[str, Measure]:
    """The measures of the training batches that are logged with the loss."""
    measures = {"batch_accuracy": Measure(count_correct, 100.0)} if task.has_classes else {}
    measures |= {SPREAD: Measure(sum_distances)} if task.triplets else {}
    choice = find_choice(criterion)
    if choice is not None and choice.learns:
        measures[CHOICE_SCALE] = Measure(lambda out, batch: (choice.scale, torch.ones_like(choice.scale)))
    return measures


def _choose_precision(cfg: Frozen, device: torch.device, resumed: CheckpointInfo | None) -> torch.dtype:
    """The precision; a run resumed on similar hardware keeps the choice of ``auto``, which depends on a measurement."""
    if resumed is not None and cfg.SOLVER.PRECISION == "auto":
        before, here = resumed.provenance, provenance(device)
        if (before.device, before.processor) == (here["device"], here["processor"]):
            return {str(dtype): dtype for dtype in PRECISIONS.values()}[f"torch.{before.precision}"]
    return choose_precision(cfg.SOLVER.PRECISION, device)


def _compile_mode(cfg: Frozen, device: torch.device) -> str:
    """Mode of ``torch.compile``; empty where the net is not compiled, or cannot be, which is logged with the reason."""
    if cfg.SOLVER.CUDA_GRAPHS:
        # Gradients in a graph's memory would be overwritten by the next micro-batch (pytorch issue 169545).
        for met, wanted in (
            (cfg.SOLVER.COMPILE, "SOLVER.COMPILE true"),
            (device.type == "cuda", f"a GPU, and this run is on {device.type}"),
            (cfg.SOLVER.GRAD_ACCUM_STEPS == 1, "SOLVER.GRAD_ACCUM_STEPS 1"),
        ):
            if not met:
                raise ConfigError(f"SOLVER.CUDA_GRAPHS: true needs {wanted}; allowed here: false")
    if not cfg.SOLVER.COMPILE:
        return ""
    if why := why_no_compile(device):
        logger.info(f"SOLVER.COMPILE: not possible here, continuing without: {why}")
        return ""
    return CUDA_GRAPHS if cfg.SOLVER.CUDA_GRAPHS else "default"


def _trained_scales(model: nn.Module) -> list[str]:
    """The batch norms whose scales determine what `fecnet prune` removes, except those of a frozen backbone."""
    names = scale_names(cast(ExpressionNet, model).channel_groups())
    return [name for name in names if model.get_submodule(name).get_parameter("weight").requires_grad]


def _build_criterion(
    cfg: Frozen, task: Task, labels: LabelOverlay | None, answers: RaterAnswers | None, iterations_per_epoch: int
) -> nn.Module:
    key, unit = "LOSS.SCN_RELABEL_AFTER", cfg.SOLVER.UNIT
    relabel_after = length_in_iterations(cfg.LOSS.SCN_RELABEL_AFTER, unit, iterations_per_epoch, key=key)
    class_weights = None if labels is None else build_class_weights(cfg, labels)
    return build_criterion(
        cfg,
        task.classes,
        class_weights=class_weights,
        relabel_after=relabel_after or None,
        answers=[] if answers is None else answers.answers_R.tolist(),
    )


def _periods(cfg: Frozen, iterations_per_epoch: int) -> Periods:
    def iterations(key: str, length: float) -> int:
        return length_in_iterations(length, cfg.SOLVER.UNIT, iterations_per_epoch, key=key)

    return Periods(
        last=iterations("SOLVER.LENGTH", cfg.SOLVER.LENGTH),
        log=cfg.LOG.PERIOD,
        evaluate=iterations("EVAL.PERIOD", cfg.EVAL.PERIOD),
        save=iterations("CHECKPOINT.PERIOD", cfg.CHECKPOINT.PERIOD),
        epoch=iterations_per_epoch,
    )


def _describe(
    cfg: Frozen, dataset: PackedDataset, task: Task, device: torch.device, precision: torch.dtype
) -> CheckpointInfo:
    """The description of this run's checkpoints, before any training."""
    return CheckpointInfo(
        format=CHECKPOINT_FORMAT,
        iteration=0,
        command=command_line(),
        started=now(),
        kind=task.kind,
        classes=list(task.classes),
        preprocessing=Preprocessing(
            height=dataset.description["height"],
            width=dataset.description["width"],
            channels=dataset.channels,
            faces=dataset.description["faces"],
            crop=cfg.DATA.CROP,
            input_size=cfg.DATA.INPUT_SIZE,
            mean=per_channel(cfg.MODEL.MEAN, len(dataset.channels), mask=0.0, key="MODEL.MEAN"),
            std=per_channel(cfg.MODEL.STD, len(dataset.channels), mask=1.0, key="MODEL.STD"),
        ),
        data=describe_data(dataset),
        coverage=dataset.coverage,
        config=plain(cfg),
        provenance=Provenance(**provenance(device), precision=str(precision).removeprefix("torch.")),
        pretraining=None,
        length=0,
        accuracy=None,
        seconds=0.0,
        extra_classes={name: list(classes) for name, classes in task.extra_classes.items()} or None,
    )
