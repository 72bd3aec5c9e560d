"""Logs what a run trains on before it starts: labelled faces, held-out triplets, votes and answers of raters."""

from __future__ import annotations

import logging

from fecnet.config.node import Frozen
from fecnet.data.build import build_triplets
from fecnet.data.label_overlay import LabelOverlay
from fecnet.data.label_splits import HOLD_OUT
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import RaterAnswers, answer_notes, read_rater_answers
from fecnet.data.triplet_splits import describe_hold_out, held_triplets
from fecnet.runs.tasks import Task

logger = logging.getLogger(__name__)


def log_labels(cfg: Frozen, task: Task, labels: LabelOverlay) -> None:
    """Log the number of faces of each class, for each label set."""
    counts = ", ".join(f"{name} {count:.0f}" for name, count in zip(labels.classes, labels.counts_K, strict=True))
    logger.info(f"{cfg.DATA.TRAIN_SPLIT}: {len(labels)} labelled training faces: {counts}")
    for name, counts_K in labels.extra_counts.items():
        pairs = zip(task.extra_classes[name], counts_K, strict=True)
        counts = ", ".join(f"{label} {count}" for label, count in pairs)
        logger.info(f"{cfg.DATA.TRAIN_SPLIT}: {counts_K.sum()} of them with a label of '{name}': {counts}")


def log_hold_out(cfg: Frozen, dataset: PackedDataset) -> None:
    """Log how many triplets are held out, and how many of their faces are nevertheless trained on."""
    held, trained = (build_triplets(cfg, dataset, split) for split in (HOLD_OUT, cfg.DATA.TRAIN_SPLIT))
    logger.info(describe_hold_out(held, trained))


def log_votes(cfg: Frozen, dataset: PackedDataset) -> None:
    """Log how many triplets without votes are trained on by their odd face only."""
    voted_T = build_triplets(cfg, dataset, cfg.DATA.TRAIN_SPLIT).votes_T3.max(1) > 0
    without = len(voted_T) - int(voted_T.sum())
    text = f"; of the other {without:,} the odd face counts as all raters' choice" if without else ""
    logger.info(
        f"{cfg.DATA.TRAIN_SPLIT}: criterion 'choice': {len(voted_T) - without:,} of {len(voted_T):,} triplets have the "
        f"votes of raters{text}"
    )


def read_answers(cfg: Frozen, dataset: PackedDataset) -> RaterAnswers:
    """The answers of raters to the triplets trained on; logs their number and warnings about them.

    Raises:
        DataError: see ``read_rater_answers``.
    """
    answers = read_rater_answers(dataset, cfg.DATA.TRAIN_SPLIT)
    if cfg.DATA.HOLD_OUT:
        answers = answers.select(~held_triplets(dataset.triplets(cfg.DATA.TRAIN_SPLIT), cfg.DATA.HOLD_OUT))
    raters = f"{len(answers.rater_A):,} answers of {len(answers.number_R):,} raters"
    logger.info("; ".join([f"{cfg.DATA.TRAIN_SPLIT}: {raters}", *answer_notes(answers)]))
    return answers
