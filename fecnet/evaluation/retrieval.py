"""Retrieval metrics: whether the nearest neighbours of a query face have its class.

Where faces are at equal distance, such as copies, each metric is its mean over all orders of them, so that it does not
depend on the order of the data set (doi:10.1007/978-3-540-78646-7_38).

Shape suffixes: N faces, Q query faces, K nearest neighbours, C classes, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from fecnet.evaluation.classification import ClassAccuracy, class_accuracy, format_metrics
from fecnet.evaluation.nearest import all_distances
from fecnet.utils.table import align_columns, decimal

RANKS = (1, 5, 10)  # k of recall@k
_CELLS = 1 << 21  # distances computed at a time
_TIE = 1e-6  # weight of the nearest neighbour's rank: breaks ties of votes, which otherwise differ by more


class Ranking(NamedTuple):
    """Query faces, and all faces ranked by distance to each. Faces at equal distance form a tie of arbitrary order.

    Attributes:
        query_Q: indices of the queries, shape (Q,).
        order_QN: indices of all faces, the nearest first, shape (Q, N); excluded faces come last.
        counts_QN: whether the face at each rank counts (is not excluded), bool, shape (Q, N).
        begin_QN: first rank, from 0, of the tie that each rank belongs to, shape (Q, N).
        end_QN: the rank after the last of that tie, shape (Q, N).
    """

    query_Q: np.ndarray
    order_QN: np.ndarray
    counts_QN: np.ndarray
    begin_QN: np.ndarray
    end_QN: np.ndarray

    def within(self, num: int) -> np.ndarray:
        """Probability that the face at each rank is among the nearest ``num`` if ties are broken at random, (Q, N)."""
        share_QN = (num - self.begin_QN) / (self.end_QN - self.begin_QN)
        return share_QN.clip(0, 1) * self.counts_QN


def rankings(embedding_ND: np.ndarray, query_Q: np.ndarray, group_N: np.ndarray) -> Iterator[Ranking]:
    """Rank all faces by squared Euclidean distance to each query, a chunk of queries at a time.

    Args:
        embedding_ND: float32, shape (N, D).
        query_Q: indices of the queries, shape (Q,).
        group_N: group of each face, shape (N,); faces of the query's own group are excluded.
    """
    for part_Q in np.array_split(query_Q, -(-len(query_Q) * len(group_N) // _CELLS) or 1):
        distance_QN = all_distances(embedding_ND, embedding_ND[part_Q])
        same_QN = group_N[part_Q][:, None] == group_N
        distance_QN[same_QN] = np.inf
        sorted_QN, order_QN = (part.numpy() for part in torch.from_numpy(distance_QN).sort(dim=1, stable=True))
        yield Ranking(part_Q, order_QN, ~np.take_along_axis(same_QN, order_QN, 1), *_ties(sorted_QN))


def _ties(sorted_QN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first rank of each rank's tie, and the one after its last; shape (Q, N)."""
    rank_N, num = np.arange(sorted_QN.shape[1]), sorted_QN.shape[1]
    farther_QN = sorted_QN[:, 1:] > sorted_QN[:, :-1]
    first_QN, last_QN = (np.pad(farther_QN, ((0, 0), pad), constant_values=True) for pad in ((1, 0), (0, 1)))
    begin_QN = np.maximum.accumulate(np.where(first_QN, rank_N, 0), axis=1)
    end_QN = np.minimum.accumulate(np.where(last_QN, rank_N + 1, num)[:, ::-1], axis=1)[:, ::-1]
    return begin_QN, end_QN


@dataclass(frozen=True)
class Retrieval:
    """Retrieval results of the query faces.

    Attributes:
        classes: C names in label order.
        query_Q: indices of the queries, shape (Q,).
        label_Q: their classes, shape (Q,).
        hit_QR: probability that one of the nearest 1, 5, 10 (``RANKS``) has the query's class, shape (Q, 3); 0 or 1
            without ties.
        precision_Q: average precision over the whole ranking, shape (Q,).
        chance_Q: share of the query's class among the faces that count, shape (Q,).
        num: K, the neighbours of k-nearest-neighbour classification and of ``alike_Q22``.
        alike_Q22: number of the K nearest by whether they have the query's class (second axis) and its subject (third
            axis), shape (Q, 2, 2).
        knn: accuracy of k-nearest-neighbour classification.
        alone: number of queries left out because no other face that counts has their class.
    """

    classes: tuple[str, ...]
    query_Q: np.ndarray
    label_Q: np.ndarray
    hit_QR: np.ndarray
    precision_Q: np.ndarray
    chance_Q: np.ndarray
    num: int
    alike_Q22: np.ndarray
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
    embedding_ND: np.ndarray,
    label_N: np.ndarray,
    classes: Sequence[str],
    query_Q: np.ndarray,
    *,
    num: int,
    group_N: np.ndarray | None = None,
    subject_N: np.ndarray | None = None,
) -> Retrieval:
    """Retrieve the nearest neighbours of each query and evaluate them.

    Args:
        embedding_ND: finite, float32, shape (N, D).
        label_N: class of each face, 0..C-1, shape (N,).
        classes: C names in label order.
        query_Q: indices of the queries, shape (Q,).
        num: K, for k-NN classification and ``alike_Q22``.
        group_N: group of each face, such as its subject, shape (N,): faces of the query's group are excluded. None:
            only the query itself is excluded.
        subject_N: subject of each face, for ``alike_Q22``, shape (N,); None: unknown, each face counts as its own
            subject.
    """
    each_N = np.arange(len(label_N))
    group_N, subject_N = (each_N if given is None else given for given in (group_N, subject_N))
    parts: list[tuple[np.ndarray, ...]] = []
    for ranking in rankings(embedding_ND, query_Q, group_N):
        hit_QN = (label_N[ranking.order_QN] == label_N[ranking.query_Q][:, None]) & ranking.counts_QN
        same_QN = subject_N[ranking.order_QN] == subject_N[ranking.query_Q][:, None]
        near_QN = ranking.within(num)
        some_Q = hit_QN.any(1)
        found = (
            ranking.query_Q,
            np.stack([hit_probability(hit_QN, ranking, rank) for rank in RANKS], axis=1),
            average_precision(hit_QN, ranking),
            hit_QN.sum(1) / np.maximum(ranking.counts_QN.sum(1), 1),
            _alike(near_QN, hit_QN, same_QN),
            _votes(near_QN, ranking, label_N, len(classes)),
        )
        parts.append(tuple(column[some_Q] for column in found))
    asked_Q, hit_QR, precision_Q, chance_Q, alike_Q22, votes_QC = map(np.concatenate, zip(*parts, strict=True))
    return Retrieval(
        classes=tuple(classes),
        query_Q=asked_Q,
        label_Q=label_N[asked_Q],
        hit_QR=hit_QR,
        precision_Q=precision_Q,
        chance_Q=chance_Q,
        num=num,
        alike_Q22=alike_Q22,
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
    knn = f"k-NN classification, k = {found.num}: {format_metrics(found.knn)}"
    return f"{align_columns([['', *rows['all']], *table])}\n{knn}"


def hit_probability(hit_QN: np.ndarray, ranking: Ranking, num: int) -> np.ndarray:
    """Probability that one of the nearest ``num`` is relevant, shape (Q,).

    Args:
        hit_QN: whether the face at each rank is relevant, shape (Q, N).
        ranking: the ranking and its ties.
        num: number of nearest faces; at most the number of faces that count.
    """
    num = min(num, hit_QN.shape[1])
    before_Q1, end_Q1 = (part_QN[:, num - 1 : num] for part_QN in (ranking.begin_QN, ranking.end_QN))
    tied, relevant = end_Q1 - before_Q1, _between(hit_QN, before_Q1, end_Q1)
    drawn_N = np.arange(
        num
    )  # m faces of a tie of n with r relevant: none is relevant with probability C(n−r, m) / C(n, m)
    drawn_QN = drawn_N < num - before_Q1
    miss_Q = np.where(drawn_QN, np.maximum(tied - relevant - drawn_N, 0) / np.maximum(tied - drawn_N, 1), 1).prod(1)
    nothing_Q = _between(hit_QN, np.zeros_like(before_Q1), before_Q1)[:, 0] == 0
    return 1 - miss_Q * nothing_Q


def average_precision(hit_QN: np.ndarray, ranking: Ranking) -> np.ndarray:
    """Average precision of each ranking, shape (Q,); 0 without a relevant face.

    Args:
        hit_QN: whether the face at each rank is relevant, the nearest first, shape (Q, N).
        ranking: the ranking and its ties.
    """
    begin_QN, end_QN = ranking.begin_QN, ranking.end_QN
    tied_QN, relevant_QN = end_QN - begin_QN, _between(hit_QN, begin_QN, end_QN)
    before_QN = _between(hit_QN, np.zeros_like(begin_QN), begin_QN)
    rank_QN = np.arange(hit_QN.shape[1])
    # expected number of relevant faces of a tie (n faces, r relevant) ahead of one of its relevant faces
    inside_QN = (rank_QN - begin_QN) * (relevant_QN - 1) / np.maximum(tied_QN - 1, 1)
    expected_QN = relevant_QN / tied_QN * (before_QN + inside_QN + 1) / (rank_QN + 1)
    return expected_QN.sum(1) / np.maximum(hit_QN.sum(1), 1)


def _between(hit_QN: np.ndarray, begin_QM: np.ndarray, end_QM: np.ndarray) -> np.ndarray:
    """Number of relevant faces from a rank up to another one, shape (Q, M)."""
    total_QN = np.pad(hit_QN.cumsum(1), ((0, 0), (1, 0)))
    return np.take_along_axis(total_QN, end_QM, 1) - np.take_along_axis(total_QN, begin_QM, 1)


def _alike(near_QN: np.ndarray, class_QN: np.ndarray, subject_QN: np.ndarray) -> np.ndarray:
    """Number of nearest faces by whether class and subject are the query's, shape (Q, 2, 2)."""
    rows = [[(near_QN * (class_QN == a) * (subject_QN == b)).sum(1) for b in (False, True)] for a in (False, True)]
    return np.array(rows).transpose(2, 0, 1)


def _votes(near_QN: np.ndarray, ranking: Ranking, label_N: np.ndarray, num_classes: int) -> np.ndarray:
    """Votes of the nearest neighbours for each class, shape (Q, C); ties go to the class of the nearest one."""
    width = int(np.flatnonzero((near_QN > 0).any(0)).max(initial=0)) + 1  # further ranks have no vote
    near_QW, label_QW = near_QN[:, :width], label_N[ranking.order_QN[:, :width]]
    first_QW = 1 / (ranking.begin_QN[:, :width] + 1)
    votes_QC = np.zeros((len(near_QN), num_classes))
    for label in range(num_classes):
        of_class_QW = near_QW * (label_QW == label)
        nearest_Q = np.where(of_class_QW > 0, first_QW, 0).max(1)
        # rounded, since equal sums of fractions may differ in the last digit
        votes_QC[:, label] = of_class_QW.sum(1).round(9) + _TIE * nearest_Q
    return votes_QC
