"""Tasks: an embedding from triplets, classes or affect from labels, or both on one backbone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from fecnet.config.node import Frozen
from fecnet.data.build import build_extra_splits, build_label_splits, build_triplets, build_views
from fecnet.data.folds import FOLD
from fecnet.data.label_splits import HOLD_OUT, LabelSplits
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.engine.description import CheckpointInfo, Kind
from fecnet.engine.evaluator import AffectMetric, ClassMetric, Evaluator, LabelArrays, Metric, TripletMetric
from fecnet.evaluation import classification
from fecnet.modeling.criterion.build import criteria_outputs, criteria_read
from fecnet.modeling.head.registry import HEADS
from fecnet.structures import of_label_set
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.lookup import lookup

logger = logging.getLogger(__name__)

_TRIPLETS, _ANSWERS = "triplets", "answers"
_LAST = "last"


@dataclass(frozen=True)
class Task:
    """The task of a run.

    Attributes:
        triplets: the criteria read triplets, and batches consist of triplets; else of labelled faces.
        targets: the labels that the criteria use: names of ``Batch.targets``; empty for triplets only.
        classes: names in label order; empty for triplets only.
        outputs: outputs of the net that the criteria use.
        extra_classes: names in label order of each of ``DATA.EXTRA_LABELS``, in order.
        answers: the criteria read the answers of single raters to the triplets.
    """

    triplets: bool
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    outputs: frozenset[str]
    extra_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    answers: bool = False

    @property
    def has_embedding(self) -> bool:
        """Whether an embedding is trained, which is evaluated on triplets."""
        return "embedding" in self.outputs

    @property
    def has_classes(self) -> bool:
        """Whether the net is trained on classes."""
        return "logits" in self.outputs

    @property
    def has_affect(self) -> bool:
        """Whether the net is trained on valence and arousal."""
        return "valence_arousal" in self.outputs

    @property
    def extra_sizes(self) -> dict[str, int]:
        """Number of classes of each of ``DATA.EXTRA_LABELS``, in order."""
        return {name: len(classes) for name, classes in self.extra_classes.items()}

    @property
    def kind(self) -> Kind:
        """``embedding``, ``classifier``, ``joint`` or ``affect``, as in a checkpoint's description."""
        if self.has_embedding:
            return "joint" if self.has_classes else "embedding"
        return "classifier" if self.has_classes else "affect"


def find_task(cfg: Frozen, dataset: PackedDataset) -> Task:
    """The task that ``LOSS.CRITERIA`` defines, with the classes of the data set.

    Raises:
        UserError: an unknown criterion; a head with other outputs than the criteria use; no such labels; a
            fold or hold-out that cannot be made or is not evaluated.
    """
    read = criteria_read(cfg)
    _check_head(cfg)
    _check_extra(cfg)
    targets = tuple(name for name in read if name not in (_TRIPLETS, _ANSWERS))
    for key in ("HOLD_OUT", "FOLD"):
        if cfg.DATA[key] and _TRIPLETS in read and (targets or key == "FOLD"):
            raise ConfigError(
                f"DATA.{key}: {cfg.DATA[key]}; allowed with triplets{' and labels' if targets else ''}: 0, since a "
                "face is in many triplets and would be both trained and tested on; hold people out when the set is "
                "made: fecnet prepare … --hold-out-subjects"
            )
    if cfg.DATA.FOLD and FOLD not in (*cfg.DATA.EVAL_SPLITS, *cfg.DATA.REPORT_SPLITS):
        raise ConfigError(
            f"DATA.REPORT_SPLITS: {list(cfg.DATA.REPORT_SPLITS)} lacks '{FOLD}', which DATA.FOLD makes, and so does "
            "DATA.EVAL_SPLITS"
        )
    if cfg.DATA.HOLD_OUT and HOLD_OUT not in cfg.DATA.EVAL_SPLITS:
        raise ConfigError(
            f"DATA.EVAL_SPLITS: {list(cfg.DATA.EVAL_SPLITS)} lacks '{HOLD_OUT}', which DATA.HOLD_OUT makes"
        )
    classes = build_label_splits(cfg, dataset).classes if targets else ()
    extra = {name: splits.classes for name, splits in build_extra_splits(cfg, dataset).items()}
    return Task(_TRIPLETS in read, targets, classes, frozenset(criteria_outputs(cfg)), extra, _ANSWERS in read)


def _check_extra(cfg: Frozen) -> None:
    """Check that ``DATA.EXTRA_LABELS`` are trained together with classes, and that their weight is used."""
    names = list(cfg.DATA.EXTRA_LABELS)
    if names and "logits" not in criteria_outputs(cfg):
        raise ConfigError(
            f"DATA.EXTRA_LABELS: {names}, but LOSS.CRITERIA {list(cfg.LOSS.CRITERIA)} trains no classes of DATA.LABELS"
            "; allowed here: none"
        )
    if cfg.LOSS.EXTRA_WEIGHT != 1 and not names:
        raise ConfigError(
            f"LOSS.EXTRA_WEIGHT: {cfg.LOSS.EXTRA_WEIGHT} is not used without DATA.EXTRA_LABELS; allowed here: 1.0"
        )


def _check_head(cfg: Frozen) -> None:
    given, needed = lookup(HEADS, cfg.MODEL.HEAD, key="MODEL.HEAD").outputs, criteria_outputs(cfg)

    def fits(outputs: Set[str]) -> bool:
        # An output that no criterion uses gets no gradient; importances also get one through the logits.
        return needed <= outputs and not (outputs - needed) & {"embedding", "logits", "valence_arousal"}

    if fits(given):
        return
    fitting = [name for name, head in HEADS.items() if fits(head.outputs)]
    raise ConfigError(
        f"MODEL.HEAD: '{cfg.MODEL.HEAD}' gives {', '.join(sorted(given))}; LOSS.CRITERIA {list(cfg.LOSS.CRITERIA)} "
        f"reads {', '.join(sorted(needed))}; allowed here: {', '.join(fitting) or 'no head'}"
    )


def build_evaluator(
    cfg: Frozen,
    dataset: PackedDataset,
    splits: Sequence[str],
    device: torch.device,
    *,
    task: Task | None = None,
    progress: bool = False,
) -> Evaluator:
    """The evaluator of ``splits`` with the views of ``cfg``: of triplets, classes or both, depending on ``task``.

    Raises:
        UserError: no such split, or impossible views.
    """
    task = task or find_task(cfg, dataset)
    metrics: list[Metric] = []
    if task.has_embedding:
        metrics.append(TripletMetric({split: triplets_of(cfg, dataset, split, task) for split in splits}))
    if task.targets:
        labels = build_label_splits(cfg, dataset)
        found = _tables(labels, splits, min_share=cfg.DATA.EVAL_MIN_VOTE_SHARE)
        for split, table in found.items() if cfg.DATA.EVAL_MIN_VOTE_SHARE else ():
            labelled = int((labels.table(split).label_M >= 0).sum())
            logger.info(
                f"{split}: evaluated on the {len(table)} of {labelled} labelled faces whose label has more than "
                f"{cfg.DATA.EVAL_MIN_VOTE_SHARE:g} of the votes"
            )
        if task.has_classes:
            metrics.append(ClassMetric(_label_arrays(found), task.classes))
        for name, extra in build_extra_splits(cfg, dataset).items():
            metrics.append(ClassMetric(_label_arrays(_tables(extra, splits)), extra.classes, name))
        if task.has_affect:
            metrics.append(AffectMetric({split: _affect(dataset, split, table) for split, table in found.items()}))
    return Evaluator(
        dataset.faces_NHWC,
        metrics,
        views=build_views(cfg, *dataset.faces_NHWC.shape[1:3]),
        batch_size=cfg.EVAL.BATCH_SIZE,
        device=device,
        progress=progress,
    )


def triplets_of(cfg: Frozen, dataset: PackedDataset, split: str, task: Task) -> TripletTable:
    """The triplets of ``split``; where triplets are trained on, a hold-out is taken from them.

    Raises:
        UserError: no such split, or triplets cannot be held out.
    """
    return build_triplets(cfg, dataset, split) if task.triplets else dataset.triplets(split)


def _tables(labels: LabelSplits, splits: Sequence[str], *, min_share: float = 0.0) -> dict[str, LabelTable]:
    return {split: labels.table(split, min_share=min_share) for split in splits}


def _label_arrays(tables: Mapping[str, LabelTable]) -> dict[str, LabelArrays]:
    return {split: (table.faces_M, table.label_M) for split, table in tables.items()}


def _affect(dataset: PackedDataset, split: str, table: LabelTable) -> tuple[np.ndarray, np.ndarray]:
    if table.valence_arousal_M2 is None:
        raise UserError(
            f"{dataset.path}: split '{split}' has no 'valence_arousal'; sets that have: fecnet prepare affectnet"
        )
    return table.faces_M, table.valence_arousal_M2


def selection_metric(cfg: Frozen, task: Task) -> str:
    """The metric of the first of ``DATA.EVAL_SPLITS`` that selects the best checkpoint; empty = no selection.

    Raises:
        UserError: an unknown choice, or a metric that this task does not have.
    """
    metrics = {"triplet_accuracy": "ALL"} if task.has_embedding else {}
    metrics |= {name: name for name in classification.METRICS} if task.has_classes else {}
    metrics |= {"ccc": "ccc"} if task.has_affect else {}
    of_extra = [of_label_set(name, label_set) for label_set in task.extra_classes for name in classification.METRICS]
    metrics |= dict(zip(of_extra, of_extra, strict=True))
    if cfg.EVAL.BEST_METRIC == _LAST and cfg.SOLVER.SCHEDULE == "plateau":
        raise ConfigError("EVAL.BEST_METRIC: 'last' leaves the plateau schedule without a metric; choose another")
    return lookup(
        {"auto": next(iter(metrics.values())), _LAST: "", **metrics}, cfg.EVAL.BEST_METRIC, key="EVAL.BEST_METRIC"
    )


def check_classes(info: CheckpointInfo, dataset: PackedDataset, task: Task) -> None:
    """Compare the classes of a checkpoint with those of the data, including their order.

    Raises:
        UserError: other names or another order.
    """
    theirs, ours = info.extra_classes or {}, task.extra_classes
    if list(theirs) != list(ours):
        raise UserError(
            f"DATA.EXTRA_LABELS: {list(ours)}; {info.place} was trained on {list(theirs)}; allowed: the same, in the "
            "same order"
        )
    for name, before, now in [("", info.classes, task.classes), *((name, theirs[name], ours[name]) for name in ours)]:
        if list(before) != list(now):
            raise UserError(
                f"{dataset.path}: the classes{f' of {name}' if name else ''} are {', '.join(now) or 'none'}; "
                f"{info.place} was trained on {', '.join(before) or 'none'}; allowed: the same names in the same order"
            )


def takes_statistics(model: nn.Module) -> bool:
    """Whether a batch norm of a model in training mode takes statistics of the share of one process."""
    return any(
        isinstance(layer, nn.modules.batchnorm._BatchNorm)
        and not isinstance(layer, nn.SyncBatchNorm)
        and layer.training
        for layer in model.modules()
    )


def check_batch_norm(model: nn.Module, smallest_batch: int) -> None:
    """Check that no batch norm gets a batch of one face, which has no variance.

    Args:
        model: in training mode.
        smallest_batch: faces in the smallest micro-batch of any rank.

    Raises:
        UserError: a batch norm that computes batch statistics would get one face.
    """
    if smallest_batch < 2 and takes_statistics(model):
        raise ConfigError(
            "SOLVER.BATCH_SIZE: leaves a micro-batch of one face, whose variance batch norm cannot compute; "
            "allowed: two or more faces for each process and each of SOLVER.GRAD_ACCUM_STEPS"
        )
