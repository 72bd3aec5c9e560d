"""Identity leakage: whether nearest neighbours share the query's subject rather than its expression.

An expression embedding should rank another subject's smile before the same subject's frown. Each share is reported
beside the chance level, that of faces sampled at random from the same candidates.

Shape suffixes: N faces, Q query faces, K nearest neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fecnet.utils.table import align_columns, decimal


@dataclass(frozen=True)
class Share:
    """Share of neighbours with a property.

    Attributes:
        neighbours: number of neighbours counted.
        percent: share of them with the property, %; None where none was counted.
        chance: the same for neighbours sampled at random from their candidates, %.
    """

    neighbours: int
    percent: float | None
    chance: float | None

    @property
    def times(self) -> float | None:
        """Ratio of the share to chance; None where chance is 0."""
        return self.percent / self.chance if self.percent is not None and self.chance else None

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {"neighbours": self.neighbours, "percent": self.percent, "chance": self.chance, "times": self.times}


def subject_leak(
    query_Q: np.ndarray, neighbour_QK: np.ndarray, label_N: np.ndarray, subject_N: np.ndarray
) -> dict[str, Share]:
    """Share of nearest neighbours with the query's subject, and with the query's class.

    Args:
        query_Q: indices of the queries.
        neighbour_QK: indices of their nearest neighbours.
        label_N: class of each face.
        subject_N: subject of each face, text or numbers.

    Returns:
        ``subject``: same subject among all neighbours; ``subject_in_class``: among neighbours of the same class;
        ``subject_in_other_classes``: among neighbours of other classes, which similar expressions do not explain;
        ``class``: same class among all neighbours; ``class_of_others``: among neighbours of other subjects.
    """
    same_class_QK = label_N[neighbour_QK] == label_N[query_Q][:, None]
    same_subject_QK = subject_N[neighbour_QK] == subject_N[query_Q][:, None]
    all_QK = np.ones_like(same_class_QK)
    # number of candidates for each query
    label, subject = _numbered(label_N), _numbered(subject_N)
    both = _numbered(label * (subject.max() + 1) + subject)
    total = len(label_N) - 1
    of_class, of_subject, of_both = (np.bincount(part)[part][query_Q] - 1 for part in (label, subject, both))
    return {
        "subject": _share(same_subject_QK, all_QK, of_subject, np.full_like(of_subject, total)),
        "subject_in_class": _share(same_subject_QK, same_class_QK, of_both, of_class),
        "subject_in_other_classes": _share(same_subject_QK, ~same_class_QK, of_subject - of_both, total - of_class),
        "class": _share(same_class_QK, all_QK, of_class, np.full_like(of_class, total)),
        "class_of_others": _share(same_class_QK, ~same_subject_QK, of_class - of_both, total - of_subject),
    }


def _numbered(value_N: np.ndarray) -> np.ndarray:
    return np.unique(value_N, return_inverse=True)[1]


def _share(same_QK: np.ndarray, counted_QK: np.ndarray, wanted_Q: np.ndarray, choice_Q: np.ndarray) -> Share:
    """Share of ``same`` among the counted neighbours; chance weighs each query by its counted neighbours."""
    counted_Q = counted_QK.sum(1)
    num = int(counted_Q.sum())
    if not num:
        return Share(0, None, None)
    chance_Q = np.divide(wanted_Q, choice_Q, out=np.zeros(len(wanted_Q)), where=choice_Q > 0)
    return Share(num, 100 * float((same_QK & counted_QK).sum() / num), 100 * float((chance_Q * counted_Q).sum() / num))


_ROWS = {
    "subject": "same subject",
    "subject_in_class": "  among the same class",
    "subject_in_other_classes": "  among other classes",
    "class": "same class",
    "class_of_others": "  among other subjects",
}


def format_leak(leak: dict[str, Share]) -> str:
    """The shares as a text table."""
    rows: list[tuple[object, ...]] = [("", "neighbours", "%", "chance", "times")]
    for name, text in _ROWS.items():
        share = leak[name]
        rows.append((text, share.neighbours, decimal(share.percent), decimal(share.chance), decimal(share.times)))
    return align_columns(rows)
