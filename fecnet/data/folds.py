"""Divides the labelled faces of a split into folds for cross-validation.

Shape suffixes: M labelled faces, K classes, G groups (such as subjects), F folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fecnet.data.labels import LabelTable
from fecnet.data.permutation import permuted
from fecnet.utils.errors import ConfigError

FOLD = "fold"  # name of the test split
PUBLISHED, CORRECTED = "published", "corrected"
# CK+ in the order of the published code's file: class, faces, faces that a fold tests (mainpro_CK+.py, CK.py)
_CKPLUS = (
    ("anger", 135, 12),
    ("disgust", 177, 18),
    ("fear", 75, 9),
    ("happy", 207, 21),
    ("sadness", 84, 9),
    ("surprise", 249, 24),
    ("contempt", 54, 6),
)
_CKPLUS_FOLDS = 10


@dataclass(frozen=True)
class FoldRule:
    """How a split is divided into folds.

    Attributes:
        by: ``published``, ``corrected``, or a column of ``faces.csv`` whose groups are kept in one fold.
        num_folds: number of folds.
        seed: seed of the order in which groups are assigned.
    """

    by: str = "subject"
    num_folds: int = 10
    seed: int = 0


def fold_tests(table: LabelTable, records: Sequence[Mapping[str, str]], rule: FoldRule) -> np.ndarray:
    """The test faces of each fold; all other faces of the split are its training faces.

    ``published`` gives the ten folds of CK+ as published: faces of each class in the order of their file names, a fixed
    number of consecutive ones for each class and fold, the last fold counted from the end. Some faces are therefore
    tested twice, some never, and subjects are in both training and test. ``corrected`` keeps the scheme but tests every
    face once: each class is divided in file order into parts that differ by at most one sequence. A column of
    ``faces.csv`` keeps faces with the same value in one fold and balances the classes (``assign_groups``).

    Args:
        table: the labels of the split to divide.
        records: the rows of ``faces.csv``.
        rule: how it is divided.

    Returns:
        bool, shape (F, M).

    Raises:
        ConfigError: the split is not CK+'s; no such column, or faces without a value; fewer groups than folds.
    """
    if rule.by == PUBLISHED:
        return _published(table, records, rule)
    fold_M = _corrected(table, records, rule) if rule.by == CORRECTED else _grouped(table, records, rule)
    return fold_M == np.arange(rule.num_folds)[:, None]


def assign_groups(counts_GK: np.ndarray, num_folds: int) -> np.ndarray:
    """Assign groups to folds such that every fold has about the same share of every class.

    Groups are assigned in descending order of the spread of their class counts, each to the fold that minimises the
    difference between the folds' class shares; ties go to the fold with the fewest faces. This is the algorithm of
    scikit-learn's ``StratifiedGroupKFold``; scikit-learn is not a required dependency.

    Args:
        counts_GK: faces of each group and class, shape (G, K).
        num_folds: F.

    Returns:
        int64, values 0..F-1, shape (G,).
    """
    counts_GK = counts_GK[:, counts_GK.any(0)]
    total_K = counts_GK.sum(0)
    held_FK = np.zeros((num_folds, len(total_K)), counts_GK.dtype)
    one_FF1 = np.eye(num_folds, dtype=counts_GK.dtype)[:, :, None]
    fold_G = np.zeros(len(counts_GK), np.int64)
    for group in np.argsort(-counts_GK.std(1), kind="stable"):
        tried_FFK = held_FK + one_FF1 * counts_GK[group]  # first axis: the fold that gets the group
        spread_F = (tried_FFK / total_K).std(1).mean(1)
        equal_F = np.isclose(spread_F, spread_F.min())
        fold = np.where(equal_F, held_FK.sum(1), np.iinfo(np.int64).max).argmin()
        held_FK[fold] += counts_GK[group]
        fold_G[group] = fold
    return fold_G


def values_of(table: LabelTable, records: Sequence[Mapping[str, str]], column: str) -> np.ndarray:
    """The value of each labelled face in a column of ``faces.csv``, text, shape (M,)."""
    return np.array([records[row][column] for row in table.faces_M.tolist()])


def _grouped(table: LabelTable, records: Sequence[Mapping[str, str]], rule: FoldRule) -> np.ndarray:
    columns = list(records[0])
    if rule.by not in columns:
        allowed = ", ".join((PUBLISHED, CORRECTED, *columns))
        raise ConfigError(f"DATA.FOLD_BY: '{rule.by}' is no column of faces.csv; allowed: {allowed}")
    value_M = values_of(table, records, rule.by)
    if unknown := int((value_M == "").sum()):
        known = [column for column in columns if (values_of(table, records, column) != "").all()]
        raise ConfigError(
            f"DATA.FOLD_BY: {unknown} of {len(table)} faces have no '{rule.by}' in faces.csv; "
            f"columns that all of them have: {', '.join(known) or 'none'}; people are also held out by: fecnet prepare "
            "--hold-out-subjects"
        )
    names, group_M = np.unique(value_M, return_inverse=True)
    if len(names) < rule.num_folds:
        raise ConfigError(
            f"DATA.NUM_FOLDS: {rule.num_folds}, but the faces have {len(names)} different '{rule.by}'; "
            f"allowed here: {f'2..{len(names)}' if len(names) > 1 else 'none, folds need two or more'}"
        )
    # Absent labels count as a separate class, so that they are distributed evenly too.
    counts_GK = np.zeros((len(names), len(table.classes) + 1), np.int64)
    np.add.at(counts_GK, (group_M, table.label_M), 1)
    order_G = permuted(np.arange(len(names)), len(names), key=rule.seed)
    fold_G = np.empty(len(names), np.int64)
    fold_G[order_G] = assign_groups(counts_GK[order_G], rule.num_folds)
    return fold_G[group_M]


def _corrected(table: LabelTable, records: Sequence[Mapping[str, str]], rule: FoldRule) -> np.ndarray:
    """The fold of each face, -1 where it has no label, shape (M,)."""
    fold_M = np.full(len(table), -1)
    sequence_M = values_of(table, records, "sequence")
    for place in _in_file_order(table, records):
        names = sequence_M[place].tolist()
        # a face without a known sequence is its own sequence
        begins = [True, *(not after or after != before for before, after in pairwise(names))]
        sequence = np.cumsum(begins[: len(names)]) - 1
        if len(names):
            fold_M[place] = sequence * rule.num_folds // (sequence[-1] + 1)
    return fold_M


def _published(table: LabelTable, records: Sequence[Mapping[str, str]], rule: FoldRule) -> np.ndarray:
    found = tuple(zip(table.classes, (int((table.label_M == k).sum()) for k in range(len(table.classes))), strict=True))
    if found != tuple((name, faces) for name, faces, _ in _CKPLUS):
        wanted = ", ".join(f"{name} {faces}" for name, faces, _ in _CKPLUS)
        there = ", ".join(f"{name} {faces}" for name, faces in found)
        raise ConfigError(
            f"DATA.FOLD_BY: '{PUBLISHED}' is for CK+ ({wanted}); these faces are {there}; "
            f"allowed here: {CORRECTED}, subject"
        )
    if rule.num_folds != _CKPLUS_FOLDS:
        raise ConfigError(f"DATA.NUM_FOLDS: {rule.num_folds}; allowed with '{PUBLISHED}': {_CKPLUS_FOLDS}")
    filed = np.concatenate(_in_file_order(table, records))
    tests_FM = np.zeros((_CKPLUS_FOLDS, len(table)), bool)
    begin = 0
    for _, faces, tested in _CKPLUS:
        for fold in range(_CKPLUS_FOLDS):
            # Not limited to the class, as published: fear's ninth fold continues into happy's first faces.
            first = begin + fold * tested if fold < _CKPLUS_FOLDS - 1 else begin + faces - tested
            tests_FM[fold, filed[first : first + tested]] = True
        begin += faces
    return tests_FM


def _in_file_order(table: LabelTable, records: Sequence[Mapping[str, str]]) -> list[np.ndarray]:
    """Indices of each class's faces, sorted by file name without folder, as in the published code.

    Files of one name in several folders come by folder, so that the order of the rows does not matter.
    """
    source_M = values_of(table, records, "source")
    name_M = np.array([source.rpartition("/")[2] for source in source_M.tolist()])
    order = np.lexsort((source_M, name_M))
    return [order[table.label_M[order] == label] for label in range(len(table.classes))]
