"""The training labels: the labels of the files, overlaid with changed ones; the files are never modified.

Shape suffixes: N faces of a batch, M labelled faces, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fecnet.data.extra_labels import check_unique, join_faces, labels_of_faces
from fecnet.data.labels import LabelTable
from fecnet.structures import Relabels, of_label_set
from fecnet.utils.errors import DataError

_PREPARED_BY = {"distribution": "fecnet prepare ferplus", "valence_arousal": "fecnet prepare affectnet"}


class Changed(NamedTuple):
    """Number of changed labels, and number of changes refused because they would have emptied a class."""

    changed: int
    kept: int


class LabelOverlay:
    """Labels by row of ``faces.npy``.

    Labels that a criterion changes take effect at the end of the epoch (SCN, arXiv:2002.10392). The overlay is
    identical on all ranks and saved in the checkpoint.

    Args:
        table: the labels of the files.
        num_faces: rows of ``faces.npy``.
        targets: which of ``label``, ``distribution``, ``valence_arousal`` are trained on; faces without any of them
            are left out.
        extra: tables of further label sets by name, whose labels are the targets ``label_<set>``; or None.

    Attributes:
        classes: K names in label order.
        rows_M: faces that have a target, rows of ``faces.npy``, int64.
        class_M: class of each in the files: its label, else the class with most votes, else -1; int64.
        counts_K: faces of each class, or the sum of their vote shares where distributions are trained on.
        extra_counts: faces of each class by name of a further label set.

    Raises:
        DataError: a face occurs twice in the table, or the table lacks a target.
    """

    def __init__(
        self,
        table: LabelTable,
        num_faces: int,
        targets: Sequence[str] = ("label",),
        extra: Mapping[str, LabelTable] | None = None,
    ) -> None:
        extra = extra or {}
        table = join_faces(table, extra.values())
        of_extra = {name: labels_of_faces(part, num_faces)[table.faces_M] for name, part in extra.items()}
        for name in targets:
            if _column(table, name) is None:
                raise DataError(f"the labels have no '{name}'; sets that have: {_PREPARED_BY[name]}")
        present = [*(_present(table, name) for name in targets), *(label_M >= 0 for label_M in of_extra.values())]
        present_M = np.any(present, axis=0)
        self.classes = table.classes
        self.rows_M = table.faces_M[present_M].astype(np.int64)
        check_unique(self.rows_M)
        names = tuple(dict.fromkeys(("label", *targets)))
        columns = {name: _column(table, name) for name in names}
        columns |= {of_label_set("label", name): label_M for name, label_M in of_extra.items()}
        # One additional row of absent values, for faces without a label.
        self._column = {name: _with_absent(column[present_M]) for name, column in columns.items() if column is not None}
        self._place = torch.full((num_faces,), len(self.rows_M))
        self._place[torch.from_numpy(self.rows_M)] = torch.arange(len(self.rows_M))
        self._of_file = {name: column.clone() for name, column in self._column.items()}
        self.class_M = _classes(self._of_file["label"][:-1].numpy(), self._column.get("distribution"))
        self.counts_K = self._counts()
        self.extra_counts = {
            name: np.bincount(label_M[label_M >= 0], minlength=len(extra[name].classes))
            for name, label_M in of_extra.items()
        }

    def __len__(self) -> int:
        return len(self.rows_M)

    def targets(self, row_N: Tensor) -> dict[str, Tensor]:
        """``Batch.targets`` of the given faces; -1 and NaN = absent.

        Args:
            row_N: rows of ``faces.npy``, int64.
        """
        place_N = self._place[row_N]
        return {name: column.index_select(0, place_N) for name, column in self._column.items()}

    def mix_distribution(self, predicted_MK: np.ndarray, share: float) -> None:
        """Mix a prediction into each vote distribution; it replaces the distribution of a face without votes.

        Args:
            predicted_MK: predicted probabilities, in the order of ``rows_M``, shape (M, K).
            share: share of the prediction in the mixture, 0..1.
        """
        predicted = torch.from_numpy(predicted_MK.astype(np.float32))
        votes = self._of_file["distribution"][:-1]
        mixed = torch.where(votes.isnan(), predicted, torch.lerp(votes, predicted, share))
        self._of_file["distribution"][:-1] = mixed
        self._column["distribution"][:-1] = mixed

    def change(self, relabels: Relabels) -> Changed:
        """Change labels, except where a class would be left without a face.

        All votes of a changed face go to its new class; a face that gets its original label back also gets its original
        votes back.

        Args:
            relabels: labelled faces with their new labels, 0..K-1.
        """
        place_P, new_P = self._place[relabels.row_M], relabels.label_M
        assert bool((place_P < len(self)).all()), "a face without a label cannot get another"
        assert bool(((new_P >= 0) & (new_P < len(self.classes))).all()), new_P
        old_P = self._column["label"][place_P]
        wanted = int((new_P != old_P).sum())
        new_P = self._without_empty_classes(place_P, new_P)
        differs_P = new_P != old_P
        self._set(place_P[differs_P], new_P[differs_P])
        changed = int(differs_P.sum())
        return Changed(changed, wanted - changed)

    def state_dict(self) -> dict[str, Tensor]:
        """The changed rows and their labels."""
        changed_M = (self._column["label"] != self._of_file["label"])[:-1]
        return {"row": torch.from_numpy(self.rows_M)[changed_M], "label": self._column["label"][:-1][changed_M]}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore ``state_dict``, before any other change."""
        self._set(self._place[state["row"]], state["label"])

    def _set(self, place_P: Tensor, label_P: Tensor) -> None:
        self._column["label"][place_P] = label_P
        if "distribution" in self._column:
            one_hot_PK = torch.eye(len(self.classes))[label_P]
            as_filed_P1 = (label_P == self._of_file["label"][place_P])[:, None]
            votes_PK = torch.where(as_filed_P1, self._of_file["distribution"][place_P], one_hot_PK)
            self._column["distribution"][place_P] = votes_PK

    def _without_empty_classes(self, place_P: Tensor, new_P: Tensor) -> Tensor:
        """``new_P``, with the old label where the change would remove the last face of a class."""
        label, num = self._column["label"][:-1], len(self.classes)
        old_P, new_P = label[place_P], new_P.clone()
        before_K = torch.bincount(label[label >= 0], minlength=num)
        while True:
            after_M = label.clone()
            after_M[place_P] = new_P
            emptied_K = (before_K > 0) & (torch.bincount(after_M[after_M >= 0], minlength=num) == 0)
            if not bool(emptied_K.any()):
                return new_P
            # terminates, since each pass reverts at least one more change
            new_P = torch.where(emptied_K[old_P.clamp_min(0)] & (old_P >= 0), old_P, new_P)

    def _counts(self) -> np.ndarray:
        distribution = self._column.get("distribution")
        if distribution is not None:
            return distribution[:-1].nan_to_num().sum(0, dtype=torch.float64).numpy()
        label_M = self._of_file["label"][:-1].numpy()
        return np.bincount(label_M[label_M >= 0], minlength=len(self.classes)).astype(np.float64)


def _column(table: LabelTable, name: str) -> np.ndarray | None:
    """The label, votes, or valence and arousal of a table."""
    columns = {
        "label": table.label_M,
        "distribution": table.distribution_MK,
        "valence_arousal": table.valence_arousal_M2,
    }
    return columns[name]


def _present(table: LabelTable, name: str) -> np.ndarray:
    column = _column(table, name)
    assert column is not None
    return column >= 0 if name == "label" else ~np.isnan(column).any(axis=1)


def _with_absent(column: np.ndarray) -> Tensor:
    """A column as a tensor with one additional row of absent values."""
    if column.dtype.kind in "iu":
        return torch.cat([torch.from_numpy(column.astype(np.int64)), torch.tensor([-1])])
    values = torch.from_numpy(column.astype(np.float32))
    return torch.cat([values, torch.full((1, values.shape[1]), torch.nan)])


def _classes(label_M: np.ndarray, distribution: Tensor | None) -> np.ndarray:
    if distribution is None:
        return label_M
    votes_MK = distribution[:-1].numpy()
    known_M = ~np.isnan(votes_MK).any(axis=1)
    most_M = np.where(known_M, np.nan_to_num(votes_MK).argmax(axis=1), -1)
    return np.where(label_M >= 0, label_M, most_M)
