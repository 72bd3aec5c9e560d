"""The triplets of a split; also a hold-out, which is taken from the training split.

Shape suffixes: T triplets.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from fecnet.data.face_rows import face_rows
from fecnet.data.label_splits import HOLD_OUT, share_of_each
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.utils.errors import ConfigError, DataError

logger = logging.getLogger(__name__)


def split_triplets(dataset: PackedDataset, split: str, *, train_split: str, hold_out: float = 0.0) -> TripletTable:
    """The triplets of ``split``; those of ``train_split`` without what is held out.

    Args:
        dataset: the packed data set.
        split: of the data set, or ``hold_out``.
        train_split: split trained on.
        hold_out: share of the triplets of each type of ``train_split`` that is held out as the split ``hold_out``;
            independent of the seed. Their faces may also be in training triplets, see ``describe_hold_out``.

    Raises:
        ConfigError: the subjects are known, so that whole subjects could be held out instead.
        DataError: no such split, or no triplet is left in it.
    """
    if split == HOLD_OUT and not hold_out:
        raise DataError(f"split '{HOLD_OUT}': DATA.HOLD_OUT is 0; give its share of '{train_split}'")
    if not hold_out or split not in (HOLD_OUT, train_split):
        return dataset.triplets(split)
    _check_no_subjects(dataset, hold_out)
    table = dataset.triplets(train_split)
    held_T = held_triplets(table, hold_out)
    if held_T.all() or not held_T.any():
        raise DataError(
            f"{dataset.path}: DATA.HOLD_OUT {hold_out:g} of the {len(table)} triplets of '{train_split}' leaves none "
            f"in split '{train_split if held_T.all() else HOLD_OUT}'; allowed: a share that leaves some in both"
        )
    return _select(table, held_T if split == HOLD_OUT else ~held_T)


def held_triplets(table: TripletTable, hold_out: float) -> np.ndarray:
    """Which triplets of a split a hold-out takes, the same share of each type: bool, shape (T,)."""
    return share_of_each(table.type_T, hold_out)


def describe_hold_out(held: TripletTable, trained: TripletTable) -> str:
    """How many triplets are held out, and how many of their faces are nevertheless trained on; one line."""
    faces = np.unique(held.faces_T3)
    shared = np.isin(faces, trained.faces_T3).mean()
    return (
        f"{HOLD_OUT}: {len(held):,} of {len(held) + len(trained):,} training triplets; {shared:.0%} of their "
        f"{len(faces):,} faces are also in triplets that are trained on: select a checkpoint by it, but do not report "
        "its accuracy, which is too high"
    )


def _select(table: TripletTable, keep_T: np.ndarray) -> TripletTable:
    names = ("faces_T3", "odd_T", "type_T", "votes_T3")
    return replace(table, **{name: getattr(table, name)[keep_T] for name in names})


def _check_no_subjects(dataset: PackedDataset, share: float) -> None:
    if any(row["subject"] for row in face_rows(dataset.path)):
        raise ConfigError(
            f"DATA.HOLD_OUT: {share}; allowed with triplets of known subjects, as in {dataset.path}: 0; hold whole "
            "subjects out when the data set is made: fecnet prepare … --hold-out-subjects"
        )
