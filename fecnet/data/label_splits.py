"""The labelled faces of a split; also folds and a hold-out, which are taken from the training split.

Shape suffixes: M labelled faces, K classes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fecnet.data.face_rows import face_rows
from fecnet.data.folds import FOLD, FoldRule, fold_tests
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from fecnet.data.permutation import permuted
from fecnet.utils.errors import ConfigError, DataError

HOLD_OUT = "hold_out"  # name of the split held out from training
CUT_BY = ("LABELS", "TRAIN_SPLIT", "HOLD_OUT", "FOLD", "FOLD_BY", "NUM_FOLDS", "FOLD_SEED")  # keys of DATA


class LabelSplits:
    """Label tables of one label set, by split.

    Args:
        dataset: the packed data set.
        label_set: name of the label set.
        train_split: split trained on.
        hold_out: share of ``train_split`` that is held out from training as the split ``hold_out``: whole subjects
            where ``faces.csv`` has them, else the same share of each class. Independent of the seed; without subjects
            it depends on the labels.
        fold: fold of ``train_split`` that is held out as the split ``fold``, 1..folds; 0 = none. The hold-out is taken
            from the remaining faces.
        folds: how ``train_split`` is divided into folds.

    Raises:
        UserError: no such fold.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        label_set: str,
        *,
        train_split: str,
        hold_out: float = 0.0,
        fold: int = 0,
        folds: FoldRule | None = None,
    ) -> None:
        self._folds = folds or FoldRule()
        if not 0 <= fold <= self._folds.num_folds:
            raise ConfigError(f"DATA.FOLD: {fold}; allowed: 1..{self._folds.num_folds} (DATA.NUM_FOLDS), or 0 for none")
        self._fold = fold
        self._dataset = dataset
        self._label_set = label_set
        self._train_split = train_split
        self._hold_out = hold_out

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in label order."""
        return self._dataset.classes(self._label_set)

    def table(self, split: str, *, min_share: float = 0.0) -> LabelTable:
        """The labels of ``split``.

        Args:
            split: of the data set, ``hold_out`` or ``fold``.
            min_share: leave out faces whose label has at most this share of the votes.

        Raises:
            UserError: no such label set or split; no face is left; or votes are needed and there are none.
        """
        if split == HOLD_OUT and not self._hold_out:
            raise DataError(f"split '{HOLD_OUT}': DATA.HOLD_OUT is 0; give its share of '{self._train_split}'")
        if split == FOLD and not self._fold:
            raise DataError(
                f"split '{FOLD}': DATA.FOLD is 0; allowed: its number, 1..{self._folds.num_folds}; "
                "all of them: fecnet folds"
            )
        parts = (HOLD_OUT, FOLD, self._train_split)
        table = self._dataset.labels(self._label_set, self._train_split if split in parts else split)
        if self._fold and split in parts:
            test_M = fold_tests(table, self._records(), self._folds)[self._fold - 1]
            table = select(table, test_M if split == FOLD else ~test_M)
        if self._hold_out and split in (HOLD_OUT, self._train_split):
            held_M = held_out(table, self._hold_out, self._subjects())
            table = select(table, held_M if split == HOLD_OUT else ~held_M)
        if min_share:
            table = select(table, self._above(table, min_share, split))
        if not len(table):
            raise DataError(f"{self._dataset.path}: no face is left in split '{split}' of '{self._label_set}'")
        return table

    def _above(self, table: LabelTable, share: float, split: str) -> np.ndarray:
        if table.distribution_MK is None:
            raise DataError(
                f"{self._dataset.path}: label set '{self._label_set}', split '{split}': no votes, which "
                "DATA.TRAIN_MIN_VOTE_SHARE and EVAL_MIN_VOTE_SHARE need; allowed here: 0; with votes: "
                "fecnet prepare ferplus"
            )
        own_M = np.take_along_axis(table.distribution_MK, np.maximum(table.label_M, 0)[:, None], 1)[:, 0]
        return (table.label_M >= 0) & (own_M > share)

    def _subjects(self) -> np.ndarray:
        """Subject of each face of the data set; empty = unknown."""
        return np.array([row["subject"] for row in self._records()])

    def _records(self) -> list[dict[str, str]]:
        return list(face_rows(self._dataset.path))


def select(table: LabelTable, keep_M: np.ndarray) -> LabelTable:
    """The rows of a table where ``keep_M`` is true."""
    names = ("faces_M", "label_M", "distribution_MK", "valence_arousal_M2")
    columns = {name: getattr(table, name) for name in names}
    return replace(table, **{name: column[keep_M] for name, column in columns.items() if column is not None})


def held_out(table: LabelTable, share: float, subjects: np.ndarray) -> np.ndarray:
    """Which labelled faces are held out; depends only on the labels and subjects.

    Args:
        table: the labels of the training split.
        share: share of the faces, 0..1.
        subjects: subject of each face of the data set, text, shape (N,); empty = unknown.

    Returns:
        bool, shape (M,).

    Raises:
        UserError: some faces have a known subject and others do not.
    """
    subject_M = subjects[table.faces_M]
    unknown = int((subject_M == "").sum())
    if 0 < unknown < len(table):
        raise ConfigError(
            f"DATA.HOLD_OUT: of {len(table)} faces {unknown} have no subject in faces.csv, so subjects cannot be kept "
            "in one split; allowed: subjects for all faces, or for none; or fecnet prepare --hold-out-subjects, "
            "which counts each face without a subject as a person of its own"
        )
    if unknown:
        return share_of_each(table.label_M, share)
    names, place_M = np.unique(subject_M, return_inverse=True)
    order = permuted(np.arange(len(names)), len(names), key=0)
    faces_of = np.bincount(place_M)[order]
    before = np.cumsum(faces_of) - faces_of  # faces of the preceding subjects
    taken = order[before + faces_of / 2 <= share * len(table)]
    return np.isin(place_M, taken)


def share_of_each(label_M: np.ndarray, share: float) -> np.ndarray:
    """A pseudo-random share of the items of each label, rounded; the same for the same labels, bool, shape (M,)."""
    held_M = np.zeros(len(label_M), bool)
    for label in np.unique(label_M):
        members = np.flatnonzero(label_M == label)
        order = permuted(np.arange(len(members)), len(members), key=int(label) + 1)
        held_M[members[order[: round(share * len(members))]]] = True
    return held_M
