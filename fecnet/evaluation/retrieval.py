"""Retrieval metrics: whether the nearest neighbours of a query face have its class.

Shape suffixes: N faces, Q query faces, K nearest neighbours, C classes, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fecnet.evaluation.classification import ClassAccuracy, class_accuracy, format_metrics
from fecnet.utils.table import align_columns, decimal

RANKS = (1, 5, 10)  # of recall@k
_CELLS = 1 << 23  # distances at a time


class Ranking(NamedTuple):
    """Query faces, and all faces ranked by distance to each.

    Attributes:
        query_Q: indices of the queries.
        order_QN: indices of all faces, the nearest first; excluded faces come last.
        counts_QN: whether the face at each rank counts (is not excluded).
    """

    query_Q: np.ndarray
    order_QN: np.ndarray
    counts_QN: np.ndarray


def rankings(embedding_ND: Tensor, query_Q: np.ndarray, group_N: np.ndarray) -> Iterator[Ranking]:
    """Rank all faces by squared Euclidean distance to each query, a chunk of queries at a time.

    Args:
        embedding_ND: float32.
        query_Q: indices of the queries.
        group_N: group of each face; faces of the query's own group are excluded.
    """
    square_N = embedding_ND.square().sum(1)
    for part_Q in np.array_split(query_Q, -(-len(query_Q) * len(group_N) // _CELLS) or 1):
        query = embedding_ND[part_Q]
        distance_QN = torch.addmm(square_N, query, embedding_ND.T, alpha=-2)
        same_QN = group_N[part_Q][:, None] == group_N
        order_QN = distance_QN.masked_fill(torch.from_numpy(same_QN), torch.inf).argsort(dim=1, stable=True).numpy()
        yield Ranking(part_Q, order_QN, ~np.take_along_axis(same_QN, order_QN, 1))


@dataclass(frozen=True)
class Retrieval:
    """Retrieval results of the query faces.

    Attributes:
        classes: C names in label order.
        query_Q: indices of the queries.
        label_Q: their classes.
        hit_QR: whether one of the nearest 1, 5, 10 (``RANKS``) has the query's class.
        precision_Q: average precision over the whole ranking.
        chance_Q: share of the query's class among the faces that count.
        neighbour_QK: indices of the nearest neighbours, -1 where fewer faces count.
        knn: accuracy of k-nearest-neighbour classification.
        alone: number of queries left out since no other face that counts has their class.
    """

    classes: tuple[str, ...]
    query_Q: np.ndarray
    label_Q: np.ndarray
    hit_QR: np.ndarray
    precision_Q: np.ndarray
    chance_Q: np.ndarray
    neighbour_QK: np.ndarray
    knn: ClassAccuracy
    alone: int

    def metrics(self, label: int | None = None) -> dict[str, float | int | None]:
        """Number of query ``faces``; ``recall@k``, ``mAP`` and ``chance`` (share of the class among the others) in %.

        Args:
            label: queries of this class only; None: all queries. Without a query the metrics are None.
        """
        asks_Q = np.ones(len(self.label_Q), bool) if label is None else self.label_Q == label
        columns = {f"recall@{rank}": self.hit_QR[:, place] for place, rank in enumerate(RANKS)}
        columns |= {"mAP": self.precision_Q, "chance": self.chance_Q}
        num = int(asks_Q.sum())
        return {"faces": num} | {
            name: round(100 * float(value_Q[asks_Q].mean()), 4) if num else None for name, value_Q in columns.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the metrics of all queries and of each class, the mean of mAP over classes, and k-NN accuracy."""
        by_class = {name: self.metrics(label) for label, name in enumerate(self.classes)}
        means = [row["mAP"] for row in by_class.values() if row["mAP"] is not None]
        return {
            "all": self.metrics(),
            "classes": by_class,
            "mean_class_mAP": round(sum(means) / len(means), 4) if means else None,
            "alone": self.alone,
            "k_nn": self.knn.to_dict(),
        }


def retrieval(
    embedding_ND: Tensor,
    label_N: np.ndarray,
    classes: Sequence[str],
    query_Q: np.ndarray,
    *,
    num: int,
    group_N: np.ndarray | None = None,
) -> Retrieval:
    """Retrieve the nearest neighbours of each query and evaluate them.

    Args:
        embedding_ND: finite, float32.
        label_N: class of each face, 0..C-1.
        classes: C names in label order.
        query_Q: indices of the queries.
        num: K, for k-NN classification and ``neighbour_QK``.
        group_N: group of each face, such as its subject: faces of the query's group are excluded. None: only the query
            itself is excluded.
    """
    group_N = np.arange(len(label_N)) if group_N is None else group_N
    asked, hits, precisions, chances, neighbours = [], [], [], [], []
    for query, order_QN, counts_QN in rankings(embedding_ND, query_Q, group_N):
        hit_QN = (label_N[order_QN] == label_N[query][:, None]) & counts_QN
        some_Q = hit_QN.any(1)
        asked.append(query[some_Q])
        hits.append(np.stack([hit_QN[some_Q, :rank].any(1) for rank in RANKS], axis=1))
        precisions.append(average_precision(hit_QN[some_Q]))
        chances.append(hit_QN[some_Q].sum(1) / counts_QN[some_Q].sum(1))
        neighbours.append(np.where(counts_QN, order_QN, -1)[some_Q, :num])
    asked_Q, neighbour_QK = np.concatenate(asked), np.concatenate(neighbours)
    votes_QC = _votes(neighbour_QK, label_N, len(classes))
    return Retrieval(
        classes=tuple(classes),
        query_Q=asked_Q,
        label_Q=label_N[asked_Q],
        hit_QR=np.concatenate(hits),
        precision_Q=np.concatenate(precisions),
        chance_Q=np.concatenate(chances),
        neighbour_QK=neighbour_QK,
        knn=class_accuracy(torch.from_numpy(votes_QC), label_N[asked_Q], classes),
        alone=len(query_Q) - len(asked_Q),
    )


def format_retrieval(found: Retrieval) -> str:
    """Table of the classes as text, in %, and one line for k-NN classification."""
    rows = {f"{label} {name}": found.metrics(label) for label, name in enumerate(found.classes)} | {
        "all": found.metrics()
    }
    table = [
        [name, *(str(value) if head == "faces" else decimal(value) for head, value in row.items())]
        for name, row in rows.items()
    ]
    knn = f"k-NN classification, k = {found.neighbour_QK.shape[1]}: {format_metrics(found.knn)}"
    return f"{align_columns([['', *rows['all']], *table])}\n{knn}"


def average_precision(hit_QN: np.ndarray) -> np.ndarray:
    """Average precision of each ranking, shape (Q,); every query needs a hit.

    Args:
        hit_QN: whether the face at each rank is relevant, the nearest first.
    """
    precision_QN = hit_QN.cumsum(1) / np.arange(1, hit_QN.shape[1] + 1)
    return (precision_QN * hit_QN).sum(1) / hit_QN.sum(1)


def _votes(neighbour_QK: np.ndarray, label_N: np.ndarray, num_classes: int) -> np.ndarray:
    """Votes of the nearest neighbours for each class, shape (Q, C); ties go to the class of the nearest one."""
    there_QK = neighbour_QK >= 0
    rank_QK = np.broadcast_to(np.arange(1, neighbour_QK.shape[1] + 1), neighbour_QK.shape)
    voted_QKC = (label_N[neighbour_QK][..., None] == np.arange(num_classes)) & there_QK[..., None]
    nearest_QC = np.where(voted_QKC, 1 / rank_QK[..., None], 0).max(1)
    return voted_QKC.sum(1) + nearest_QC / 2
