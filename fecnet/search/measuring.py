"""``fecnet search measure``: recall of the index, and what the nearest neighbours in a packed set share.

Shape suffixes: N faces, Q queries among them, M labelled faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.evaluation.identity_leak import Share, explain_leak, format_leak, identity_leak
from fecnet.evaluation.retrieval import Retrieval, format_retrieval, retrieval
from fecnet.search.index import Index
from fecnet.search.kinds import FLAT
from fecnet.search.pictures import open_packed
from fecnet.utils.errors import UserError


def recall_of_exact(index: Index, exact: Index, query_QD: np.ndarray, num: int) -> float:
    """Recall: the share of results that are not farther than the last exact neighbour.

    Args:
        index: an index of any kind.
        exact: the same index, opened with ``exact``.
        query_QD: float32, shape (Q, D).
        num: neighbours of each query.
    """
    found, wanted = index.search(query_QD, num), exact.search(query_QD, num)
    return float((found.distance_QK <= wanted.distance_QK[:, -1:]).mean())


def spread(num: int, most: int) -> np.ndarray:
    """At most ``most`` of the indices 0..``num`` − 1, evenly spaced."""
    return np.linspace(0, num - 1, min(num, most)).round().astype(np.int64)


@dataclass(frozen=True)
class SplitMeasure:
    """Retrieval metrics of a split.

    Attributes:
        faces: labelled faces in the index.
        absent: labelled faces not in the index.
        everyone: metrics among all other faces.
        others: metrics among faces of other subjects; None if subjects are unknown.
        leak: see ``identity_leak``; None if subjects are unknown.
    """

    faces: int
    absent: int
    everyone: Retrieval
    others: Retrieval | None
    leak: dict[str, Share] | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "faces": self.faces,
            "absent": self.absent,
            "everyone": self.everyone.to_dict(),
            "other_people": self.others and self.others.to_dict(),
            "identity_leak": self.leak and {name: share.to_dict() for name, share in self.leak.items()},
        }

    def table(self, split: str) -> str:
        """All tables of a split."""
        absent = f", {self.absent} more are not in the index" if self.absent else ""
        parts = [
            f"{split}: {self.faces} labelled faces{absent}; each is a query for its nearest other faces; %",
            format_retrieval(self.everyone),
        ]
        if self.others is None or self.leak is None:
            return "\n".join([*parts, "subjects are unknown, so the identity leak is not measured"])
        what = f"of the {self.everyone.num} nearest"
        return "\n".join(
            [
                *parts,
                f"{split}: the same among faces of other subjects",
                format_retrieval(self.others),
                f"{split}: identity leak, {what}",
                format_leak(self.leak),
                f"{split}: {explain_leak(self.leak)}",
            ]
        )


def measured_set(index: Index) -> tuple[PackedDataset, np.ndarray] | None:
    """The packed set that an index was built from, and the row of each vector in it, int64, shape (N,).

    None if it was built from something else, or from more than one packed set.

    Raises:
        UserError: the set has changed since then.
    """
    names = list(index.every_name())
    if len(index.description["packed"]) != 1 or {name.file for name in names} != set(index.description["packed"]):
        return None
    return open_packed(index, names[0].file), np.array([name.number for name in names])


def choose_labels(dataset: PackedDataset, label_set: str, split: str) -> tuple[str, list[str]]:
    """The label set and splits to use if the user named none; no splits without labels.

    Raises:
        UserError: there is no such label set, or more than one and none is named.
    """
    known = dataset.description["label_sets"]
    if not label_set and len(known) > 1:
        raise UserError(f"{dataset.path}: {len(known)} label sets; name one with --labels: {', '.join(known)}")
    if not label_set and not known:
        return "", [split] if split else []
    label_set = label_set or next(iter(known))
    dataset.classes(label_set)
    splits = dataset.description["splits"]
    return label_set, [split] if split else [s for s, parts in splits.items() if label_set in parts.get("labels", {})]


def measure_split(
    index: Index, dataset: PackedDataset, row_N: np.ndarray, label_set: str, split: str, *, num: int, queries: int
) -> SplitMeasure:
    """Query the index with the labelled faces of a split.

    Args:
        index: index with the vectors of the faces.
        dataset: packed set with their labels and subjects.
        row_N: row in the set of each vector, shape (N,).
        label_set: name of the label set.
        split: name of the split.
        num: neighbours of each face.
        queries: maximum number of queries.

    Raises:
        UserError: no such label set or split, or fewer than two of its faces are in the index.
    """
    table = dataset.labels(label_set, split)
    labelled = table.label_M >= 0
    place_of = np.full(len(dataset.faces_NHWC), -1)
    place_of[row_N] = np.arange(len(row_N))
    place_M = place_of[table.faces_M]
    kept_M = labelled & (place_M >= 0)
    faces = int(kept_M.sum())
    if faces < 2:
        raise UserError(f"{index.path}: {faces} labelled faces of {dataset.path}, split '{split}'; needed: 2 or more")
    embedding_ND = index.vector_ND[place_M[kept_M]]
    label_N = table.label_M[kept_M]
    query_Q, num = spread(faces, queries), min(num, faces - 1)
    absent = int(labelled.sum()) - faces
    subject_N = _subjects(dataset)[table.faces_M[kept_M]]
    everyone = retrieval(embedding_ND, label_N, table.classes, query_Q, num=num, subject_N=subject_N)
    if (subject_N == "").any() or len(np.unique(subject_N)) < 2:
        return SplitMeasure(faces, absent, everyone, None, None)
    others = retrieval(embedding_ND, label_N, table.classes, query_Q, num=num, group_N=subject_N)
    leak = identity_leak(everyone.query_Q, everyone.alike_Q22, label_N, subject_N)
    return SplitMeasure(faces, absent, everyone, others, leak)


def _subjects(dataset: PackedDataset) -> np.ndarray:
    """The subject of each face; empty = unknown."""
    return np.array([row["subject"] for row in face_rows(dataset.path)])


def measure_kind(index: Index, exact: Index, *, num: int, queries: int) -> tuple[str, float | None]:
    """Recall against exhaustive search, in words and in %; None for an exact index."""
    if index.kind == FLAT:
        return f"{index.path}: kind {FLAT}: exhaustive search, so recall is 100 %", None
    query_QD = index.vector_ND[spread(len(index), queries)]
    percent = 100 * recall_of_exact(index, exact, query_QD, num)
    return (
        f"{index.path}: kind {index.kind}: finds {percent:.2f} % of the {num} nearest, of {len(query_QD)} vectors",
        percent,
    )
