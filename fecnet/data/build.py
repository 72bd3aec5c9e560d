"""Builds loaders, labels, augmentation and views from ``cfg``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from fecnet.config.defaults import _C
from fecnet.data.augment import Augment
from fecnet.data.extra_labels import check_apart, check_extra_labels
from fecnet.data.faces import place_faces
from fecnet.data.folds import FoldRule
from fecnet.data.hard_sampler import HardTripletSampler
from fecnet.data.label_overlay import LabelOverlay
from fecnet.data.label_splits import LabelSplits
from fecnet.data.loader import LabelledLoader, TripletLoader, vote_weights
from fecnet.data.mixing import OTHER_SEED, Mixer
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.data.rater_answers import RaterAnswers
from fecnet.data.samplers import ClassSampler, RoundSampler, TripletSampler
from fecnet.data.triplet_splits import split_triplets
from fecnet.data.views import View, center, flip, ten_crop
from fecnet.utils.errors import ConfigError, DataError
from fecnet.utils.lookup import lookup


def build_loader(
    cfg: Any,
    dataset: PackedDataset,
    labels: LabelOverlay | None = None,
    *,
    rank: int,
    world_size: int,
    device: torch.device,
    triplets: bool = True,
    answers: RaterAnswers | None = None,
) -> TripletLoader | LabelledLoader:
    """The training loader of ``cfg.DATA.TRAIN_SPLIT``.

    Args:
        cfg: the whole settings.
        dataset: the packed data set.
        labels: targets of the faces, or None.
        rank: this process.
        world_size: number of processes.
        device: device of the batches.
        triplets: the items are triplets; else the faces of ``labels``.
        answers: answers of the raters of the split, where a criterion reads them.

    Raises:
        UserError: the batch is larger than the data, or smaller than the number of processes; or the faces are to be
            cached on the device and do not fit.
    """
    if cfg.SOLVER.GRAD_ACCUM_STEPS < 1:
        raise ConfigError(f"SOLVER.GRAD_ACCUM_STEPS: {cfg.SOLVER.GRAD_ACCUM_STEPS}; allowed: 1 or more")
    if triplets and cfg.DATA.BALANCE_CLASSES:
        raise ConfigError("DATA.BALANCE_CLASSES: true, but batches are made of triplets; allowed here: false")
    most = len(labels) if triplets and labels is not None else 0
    if not 0 <= cfg.SOLVER.LABELLED_BATCH_SIZE <= most:
        why = f"there are {most} labelled faces" if most else "triplets and labels are not both trained on"
        raise ConfigError(
            f"SOLVER.LABELLED_BATCH_SIZE: {cfg.SOLVER.LABELLED_BATCH_SIZE}, but {why}; allowed here: 0..{most}"
        )
    if not triplets and cfg.DATA.WEIGHT_BY_AGREEMENT:
        raise ConfigError("DATA.WEIGHT_BY_AGREEMENT: true, but batches are made of labelled faces; allowed here: false")
    if not triplets and cfg.DATA.TRIPLET_GROUP_SIZE != 1:
        group_size = cfg.DATA.TRIPLET_GROUP_SIZE
        raise ConfigError(
            f"DATA.TRIPLET_GROUP_SIZE: {group_size}, but batches are made of labelled faces; allowed here: 1"
        )
    if not triplets and cfg.DATA.HARD_TRIPLETS:
        share = cfg.DATA.HARD_TRIPLETS
        raise ConfigError(f"DATA.HARD_TRIPLETS: {share}, but batches are made of labelled faces; allowed here: 0")
    shared: dict[str, Any] = {
        "labels": labels,
        "accumulate": cfg.SOLVER.GRAD_ACCUM_STEPS,
        "rank": rank,
        "world_size": world_size,
        "pin": device.type == "cuda",
    }
    faces = partial(
        place_faces, dataset.faces_NHWC, device, cfg.DATA.CACHE_ON_DEVICE
    )  # called last: a copy may take minutes
    batches = {"batch_size": cfg.SOLVER.BATCH_SIZE, "seed": cfg.SEED}
    if not triplets:
        assert labels is not None
        place_M = np.flatnonzero(labels.class_M >= 0) if cfg.DATA.BALANCE_CLASSES else np.arange(len(labels))
        class_M, row_M, balance = labels.class_M[place_M], labels.rows_M[place_M], cfg.DATA.BALANCE_CLASSES
        labelled = ClassSampler(class_M, **batches, balance=balance)
        if _mixes(cfg):
            others = ClassSampler(class_M, **batches | {"seed": cfg.SEED + OTHER_SEED}, balance=balance)
            shared["mixer"] = _build_mixer(cfg, lambda iteration: row_M[others.rows(iteration)])
        return LabelledLoader(faces(), row_M, labelled, **shared)
    table = build_triplets(cfg, dataset, cfg.DATA.TRAIN_SPLIT)
    if cfg.DATA.WEIGHT_BY_AGREEMENT and not table.votes_T3.any():
        raise ConfigError(
            f"DATA.WEIGHT_BY_AGREEMENT: true, but split '{cfg.DATA.TRAIN_SPLIT}' of {dataset.path} has no votes of "
            "raters; allowed here: false"
        )
    sampler = _build_triplet_sampler(cfg, table)
    weight_T = vote_weights(table) if cfg.DATA.WEIGHT_BY_AGREEMENT else None
    joining = None
    if labels is not None and cfg.SOLVER.LABELLED_BATCH_SIZE:
        size = {"num_items": len(labels), "batch_size": cfg.SOLVER.LABELLED_BATCH_SIZE}
        joining = RoundSampler([labels.rows_M], **size, seed=cfg.SEED)
        if _mixes(cfg):
            shared["mixer"] = _build_mixer(cfg, RoundSampler([labels.rows_M], **size, seed=cfg.SEED + OTHER_SEED).rows)
    elif _mixes(cfg):
        raise ConfigError(
            f"AUGMENT.MIXUP: {cfg.AUGMENT.MIXUP}, CUTMIX: {cfg.AUGMENT.CUTMIX}, but no labelled faces join triplets; "
            "allowed here: 0, or joint training with SOLVER.LABELLED_BATCH_SIZE above 0"
        )
    return TripletLoader(faces(), table, sampler, weight_T=weight_T, answers=answers, labelled=joining, **shared)


def _build_triplet_sampler(cfg: Any, table: TripletTable) -> TripletSampler:
    options: dict[str, Any] = {
        "batch_size": cfg.SOLVER.BATCH_SIZE,
        "seed": cfg.SEED,
        "balance": cfg.DATA.BALANCE_TRIPLET_TYPES,
        "group_size": cfg.DATA.TRIPLET_GROUP_SIZE,
    }
    share, ceiling, default = cfg.DATA.HARD_TRIPLETS, cfg.DATA.HARD_TRIPLETS_CEILING, _C.DATA.HARD_TRIPLETS_CEILING
    if share:
        return HardTripletSampler(table, share=share, ceiling=ceiling, **options)
    if ceiling != default:
        raise ConfigError(
            f"DATA.HARD_TRIPLETS_CEILING: {ceiling} is not used without DATA.HARD_TRIPLETS; allowed here: {default}"
        )
    return TripletSampler(table.type_T, faces_T3=table.faces_T3, **options)


def _mixes(cfg: Any) -> bool:
    return bool(cfg.AUGMENT.MIXUP or cfg.AUGMENT.CUTMIX)


def _build_mixer(cfg: Any, partners: Callable[[int], np.ndarray]) -> Mixer:
    alphas = {"mixup": cfg.AUGMENT.MIXUP, "cutmix": cfg.AUGMENT.CUTMIX}
    return Mixer(partners, **alphas, input_size=cfg.DATA.INPUT_SIZE, seed=cfg.SEED)


def build_triplets(cfg: Any, dataset: PackedDataset, split: str) -> TripletTable:
    """The triplets of ``split``, for criteria that read triplets, after ``cfg.DATA.HOLD_OUT`` is applied.

    Raises:
        UserError: no such split, or triplets cannot be held out.
    """
    return split_triplets(dataset, split, train_split=cfg.DATA.TRAIN_SPLIT, hold_out=cfg.DATA.HOLD_OUT)


def build_label_splits(cfg: Any, dataset: PackedDataset, label_set: str = "") -> LabelSplits:
    """The label tables of a label set by split.

    Args:
        cfg: the whole settings.
        dataset: the packed data set.
        label_set: one of ``cfg.DATA.EXTRA_LABELS``; empty for ``cfg.DATA.LABELS``.

    Raises:
        UserError: no label set is given, or no such fold.
    """
    known = dataset.description["label_sets"]
    if not cfg.DATA.LABELS:
        there = ", ".join(known) or "none; prepare a set that has labels, see: fecnet prepare --help"
        raise ConfigError(f"DATA.LABELS: empty, but LOSS.CRITERIA needs labels; {dataset.path} has: {there}")
    return LabelSplits(
        dataset,
        label_set or cfg.DATA.LABELS,
        train_split=cfg.DATA.TRAIN_SPLIT,
        hold_out=cfg.DATA.HOLD_OUT,
        fold=cfg.DATA.FOLD,
        folds=build_fold_rule(cfg),
    )


def build_extra_splits(cfg: Any, dataset: PackedDataset) -> dict[str, LabelSplits]:
    """The label tables of each of ``cfg.DATA.EXTRA_LABELS`` by split.

    Raises:
        UserError: a name is given twice, there is no such label set, or a part of the training split is held out.
    """
    names = list(cfg.DATA.EXTRA_LABELS)
    check_extra_labels(cfg.DATA.LABELS, names)
    for key in ("HOLD_OUT", "FOLD") if names else ():
        if cfg.DATA[key]:
            raise ConfigError(
                f"DATA.{key}: {cfg.DATA[key]}, but the label sets of DATA.EXTRA_LABELS {names} would each be divided "
                "in another way; allowed with them: 0"
            )
    return {name: build_label_splits(cfg, dataset, name) for name in names}


def build_fold_rule(cfg: Any) -> FoldRule:
    """How ``cfg.DATA.TRAIN_SPLIT`` is divided into folds."""
    return FoldRule(cfg.DATA.FOLD_BY, cfg.DATA.NUM_FOLDS, cfg.DATA.FOLD_SEED)


def build_labels(cfg: Any, dataset: PackedDataset, targets: Sequence[str]) -> LabelOverlay:
    """The labels trained on, with those of ``cfg.DATA.EXTRA_LABELS``; every class must have a face.

    Args:
        cfg: the whole settings.
        dataset: the packed data set.
        targets: the targets that the criteria read: ``label``, ``distribution``, ``valence_arousal``.

    Raises:
        UserError: no such labels in the data set, a class without a face, or a face that one label set trains on and
            another evaluates.
    """
    extra = {name: splits.table(cfg.DATA.TRAIN_SPLIT) for name, splits in build_extra_splits(cfg, dataset).items()}
    if extra:
        evaluated = (*cfg.DATA.EVAL_SPLITS, *cfg.DATA.REPORT_SPLITS)
        check_apart(dataset, [cfg.DATA.LABELS, *extra], cfg.DATA.TRAIN_SPLIT, evaluated)
    table = build_label_splits(cfg, dataset).table(cfg.DATA.TRAIN_SPLIT, min_share=cfg.DATA.TRAIN_MIN_VOTE_SHARE)
    try:
        labels = LabelOverlay(table, len(dataset.faces_NHWC), targets, extra)
    except DataError as error:
        place = f"{dataset.path}: label set '{cfg.DATA.LABELS}', split '{cfg.DATA.TRAIN_SPLIT}'"
        raise DataError(f"{place}: {error}") from error
    counts = {} if set(targets) == {"valence_arousal"} else {cfg.DATA.LABELS: labels.counts_K}
    for label_set, counts_K in {**counts, **labels.extra_counts}.items():
        classes = dataset.classes(label_set)
        empty = [name for name, count in zip(classes, counts_K, strict=True) if not count]
        if empty:
            raise DataError(
                f"{dataset.path}: label set '{label_set}', split '{cfg.DATA.TRAIN_SPLIT}': no training face for the "
                f"class '{empty[0]}' ({len(empty)} of {len(classes)} classes); allowed: one or more of each"
            )
    return labels


def build_trained_rows(cfg: Any, dataset: PackedDataset, targets: Sequence[str], *, triplets: bool) -> np.ndarray:
    """The training faces, rows of ``faces.npy``, int64: those that ``build_loader`` samples from.

    Args:
        cfg: the whole settings.
        dataset: the packed data set.
        targets: the targets that the criteria read, see ``build_labels``.
        triplets: the items are triplets; else labelled faces.

    Raises:
        UserError: no such split or labels.
    """
    rows = [build_triplets(cfg, dataset, cfg.DATA.TRAIN_SPLIT).faces_T3.reshape(-1)] if triplets else []
    if not triplets or cfg.SOLVER.LABELLED_BATCH_SIZE:
        rows.append(build_labels(cfg, dataset, targets).rows_M)
    return np.unique(np.concatenate(rows)).astype(np.int64)


_CLASS_WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": np.ones_like,
    "balanced": lambda counts_K: counts_K.sum() / (len(counts_K) * counts_K),  # as scikit-learn's class weights
    "sqrt": lambda counts_K: np.sqrt(counts_K.sum() / (len(counts_K) * counts_K)),
}


def build_class_weights(cfg: Any, labels: LabelOverlay) -> list[float] | None:
    """The class weights of ``cfg.LOSS.CLASS_WEIGHTS``, or None.

    Raises:
        UserError: an unknown rule.
    """
    rule = lookup(_CLASS_WEIGHTS, cfg.LOSS.CLASS_WEIGHTS, key="LOSS.CLASS_WEIGHTS")
    return None if cfg.LOSS.CLASS_WEIGHTS == "none" else rule(labels.counts_K).tolist()


def build_augment(cfg: Any, channels: list[str]) -> Augment:
    """The training augmentation for images with these channels.

    Raises:
        UserError: a value of ``cfg.AUGMENT`` or ``cfg.DATA`` is out of range.
    """
    try:
        return Augment(
            seed=cfg.SEED,
            input_size=cfg.DATA.INPUT_SIZE,
            crop=cfg.DATA.CROP,
            mask_channel="mask" in channels,
            channels_last=cfg.SOLVER.CHANNELS_LAST,
            **{key.lower(): value for key, value in cfg.AUGMENT.items() if key not in ("MIXUP", "CUTMIX")},
        )
    except ConfigError as error:
        raise ConfigError(f"AUGMENT, {error}") from error


_VIEWS: dict[str, Callable[[int, float], list[View]]] = {"center": center, "flip": flip, "ten_crop": ten_crop}


def build_views(cfg: Any, height: int, width: int) -> list[View]:
    """The views of each evaluated face (test-time augmentation), by ``cfg.EVAL.TTA``.

    Raises:
        UserError: an unknown name, or ten crops that are all equal to the whole face.
    """
    views = lookup(_VIEWS, cfg.EVAL.TTA, key="EVAL.TTA")(cfg.DATA.INPUT_SIZE, cfg.DATA.CROP)
    if cfg.EVAL.TTA == "ten_crop" and (round(cfg.DATA.CROP * height), round(cfg.DATA.CROP * width)) == (
        height,
        width,
    ):
        raise ConfigError(
            f"EVAL.TTA: 'ten_crop' with DATA.CROP {cfg.DATA.CROP:g} cuts nothing off {height}×{width} pixels; "
            "allowed here: center, flip; or a smaller DATA.CROP, which the net must have been trained with"
        )
    return views
