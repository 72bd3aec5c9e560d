"""Evaluates a checkpoint: prints the tables of triplets and classes and writes the reports."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fecnet.config.node import Frozen, load_config
from fecnet.data.build import build_trained_rows
from fecnet.data.duplicates import pixel_matches
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_agreement import split_half_agreements
from fecnet.engine.checkpoint import containing_folder, find_checkpoint
from fecnet.engine.description import CheckpointInfo
from fecnet.engine.evaluator import AffectMetric, ClassMetric, Evaluator, TripletMetric
from fecnet.evaluation.baselines import MAX_LINEAR_TRIPLETS, linear_embedding, pixel_embedding, small_faces
from fecnet.evaluation.coverage import format_coverage
from fecnet.evaluation.triplet_accuracy import TripletAccuracy
from fecnet.modeling.build import build_model
from fecnet.runs.folders import data_differences
from fecnet.runs.opened_net import open_net
from fecnet.runs.reports import AffectReport, ClassReport, Report
from fecnet.runs.tasks import Task, find_task, triplets_of
from fecnet.runs.triplet_report import TripletReport
from fecnet.utils import comm
from fecnet.utils.env import now, provenance
from fecnet.utils.errors import UserError
from fecnet.utils.files import whole_or_absent
from fecnet.utils.program import command_line

logger = logging.getLogger(__name__)


def newest_run(folder: Path) -> Path:
    """The run in ``folder`` with the newest checkpoint.

    Raises:
        UserError: no run has a checkpoint yet.
    """
    saved = sorted(folder.glob("*/checkpoints/last"), key=lambda path: path.stat().st_mtime)
    if not saved:
        raise UserError(f"{folder}: no run with a checkpoint here; train one with: fecnet train")
    return saved[-1].parents[1]


def infer_run(
    path: str,
    *,
    checkpoint: str = "best",
    splits: Sequence[str] = (),
    baselines: bool = False,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate a checkpoint, print the tables and write the reports.

    The run's folder gets ``evaluation/triplets.json``, ``classes.json`` and ``affect.json``, for the tasks that the net
    is trained on.

    Args:
        path: a run or checkpoint folder; empty for the newest run.
        checkpoint: ``best`` or ``last``, for a run folder.
        splits: splits of triplets or labels; empty for ``DATA.REPORT_SPLITS``.
        baselines: also evaluate pixel distance, a linear map and an untrained net; where known, also an oracle with
            the true expressions. Triplets only.
        overrides: ``KEY VALUE`` pairs, such as ``DATA.PATH``.

    Returns:
        The contents of the JSON files by name.

    Raises:
        UserError: no checkpoint, or one that does not fit the data or the code.
    """
    if not path:
        path = str(newest_run(Path(load_config(overrides=overrides).OUTPUT_DIR)))
    net = open_net(find_checkpoint(path, checkpoint), splits=splits, overrides=overrides)
    info, cfg, trained, dataset, evaluator = net.info, net.cfg, net.trained, net.dataset, net.evaluator
    if baselines and not net.task.has_embedding:
        raise UserError(f"--baselines: {net.folder} is not trained on triplets, which the baselines are evaluated on")

    outputs = evaluator.predict(net.model)
    moves = evaluator.largest_moves(net.model, outputs)
    reports: list[Report] = []
    for metric in evaluator.metrics:
        if isinstance(metric, TripletMetric):
            others = _baselines(cfg, dataset, net.task, evaluator, metric, net.device) if baselines else {}
            others |= _split_half_agreement(dataset, metric)
            embedding_ND = evaluator.part(outputs, metric)
            reports.append(
                TripletReport(dataset, metric, embedding_ND, others, info.choice_scale, moves[metric.output])
            )
        elif isinstance(metric, ClassMetric):
            copy_N = _copies_in_training(info, trained, dataset, metric)
            logits_NK, split = evaluator.part(outputs, metric), trained.DATA.TRAIN_SPLIT
            report = ClassReport(
                dataset, metric, logits_NK, training_split=split, copy_N=copy_N, move=moves[metric.output]
            )
            reports.append(report)
        elif isinstance(metric, AffectMetric):
            reports.append(AffectReport(metric, evaluator.part(outputs, metric)))
    _print(info, dataset, reports, net.splits, cfg.EVAL.TTA)
    shared = {"checkpoint": str(net.folder), "iteration": info.iteration, "data": str(dataset.path)}
    shared["views"] = cfg.EVAL.TTA
    origin = {
        "coverage": dataset.coverage,
        "command": command_line(),
        "date": now(),
        "provenance": provenance(net.device),
    }
    results = {report.name: {**shared, **report.to_dict(), **origin} for report in reports}
    comm.from_main(lambda: _write(net.folder, reports, results))
    return results


def _copies_in_training(
    info: CheckpointInfo, trained: Frozen, dataset: PackedDataset, metric: ClassMetric
) -> np.ndarray | None:
    """Which of the metric's faces are identical in pixels to training faces; None where the training data are absent.

    Computed on rank 0 only.
    """
    differences = data_differences(info, dataset)
    if differences:
        logger.info(
            f"{dataset.path}: not the training data ('{differences[0][0]}' differs), so evaluated faces are not "
            "compared with training faces"
        )
        return None
    task = find_task(trained, dataset)

    def find() -> np.ndarray:
        training_rows = build_trained_rows(trained, dataset, task.targets, triplets=task.triplets)
        return pixel_matches(dataset.faces_NHWC, metric.rows, training_rows)

    return comm.from_main(find)


def _print(
    info: CheckpointInfo, dataset: PackedDataset, reports: Sequence[Report], splits: Sequence[str], views: str
) -> None:
    selecting = None if info.selection is None else info.selection.split
    for split in splits:
        selected = " (the split that selected the best checkpoint)" if split == selecting else ""
        for report in reports:
            logger.info(f"\n{split}{selected}: {report.table(split)}")
    if splits and set(splits) == {selecting}:
        logger.info(f"\n{selecting} selected the checkpoint: metrics on it are biased upwards; report another split")
    if views != "center":
        logger.info(f"\nEVAL.TTA {views}: outputs are the mean over the views of a face")
    logger.info("\n" + format_coverage(dataset.coverage))


def _write(checkpoint: Path, reports: Sequence[Report], results: dict[str, dict[str, Any]]) -> None:
    """Write to the folder of the run, or of a checkpoint without a run: all files, or none if one fails.

    Files of other splits and of ``fecnet compare`` are kept.
    """
    folder = containing_folder(checkpoint) / "evaluation"
    with whole_or_absent(folder) as partial:
        if folder.is_dir():
            shutil.copytree(folder, partial)
        partial.mkdir(parents=True, exist_ok=True)
        names = [name for report in reports for name in report.write(partial, results[report.name])]
    logger.info(f"{checkpoint}: written to {folder}: {', '.join(names)}")


def _baselines(
    cfg: Frozen,
    dataset: PackedDataset,
    task: Task,
    evaluator: Evaluator,
    metric: TripletMetric,
    device: torch.device,
) -> dict[str, dict[str, TripletAccuracy]]:
    """Baselines without a trained net, on the same triplets."""
    images = small_faces(dataset.faces_NHWC, metric.rows)
    table = triplets_of(cfg, dataset, cfg.DATA.TRAIN_SPLIT, task)
    some = slice(None, None, -(-len(table) // MAX_LINEAR_TRIPLETS))
    torch.manual_seed(cfg.SEED)
    untrained = build_model(cfg, len(dataset.channels), len(task.classes), task.extra_sizes).to(device)
    train_rows, train_faces = np.unique(table.faces_T3[some], return_inverse=True)
    linear = linear_embedding(
        small_faces(dataset.faces_NHWC, train_rows),
        train_faces.reshape(-1, 3),
        table.odd_T[some],
        images,
        dim=cfg.MODEL.EMBEDDING_DIM,
    )
    found = {
        "untrained net": metric.measure(evaluator.part(evaluator.predict(untrained), metric)),
        "pixel distance": metric.measure(torch.from_numpy(pixel_embedding(images))),
        "linear map": metric.measure(torch.from_numpy(linear)),
    }
    expression = dataset.array("expression")  # known for synthetic faces
    if expression is not None:
        found["oracle"] = metric.measure(torch.from_numpy(expression[metric.rows]))
    return found


def _split_half_agreement(dataset: PackedDataset, metric: TripletMetric) -> dict[str, dict[str, TripletAccuracy]]:
    """Split-half agreement, summed over several splits of the raters; empty where no split has several raters."""
    known = split_half_agreements(dataset, metric.splits)
    found = dict.fromkeys(metric.splits, TripletAccuracy((0, 0, 0), (0, 0, 0)))
    for split, rows in known.items():
        one, two, three = rows["ONE"], rows["TWO"], rows["THREE"]
        right = (one["correct"], two["correct"], three["correct"])
        found[split] = TripletAccuracy(right, (one["counted"], two["counted"], three["counted"]))
    return {"split-half agreement": found} if known else {}
