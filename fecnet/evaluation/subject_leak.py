"""Whether the nearest faces are the same person rather than the same expression.

An embedding of expressions should find another person's smile before the same person's frown. Every share stands beside
what chance gives: faces drawn from the same choice in place of the neighbours.

Shape suffixes: N faces, Q of them that asked, K nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fecnet.utils.table import align_columns, decimal


@dataclass(frozen=True)
class Share:
    """A share of some neighbours.

    Attributes:
        neighbours: how many were counted.
        percent: of them that are of the kind; None where none was counted.
        chance: per cent, if each had been drawn at random from the faces it was chosen from.
    """

    neighbours: int
    percent: float | None
    chance: float | None

    @property
    def times(self) -> float | None:
        """How many times as often as by chance; None where chance gives none."""
        return self.percent / self.chance if self.percent is not None and self.chance else None

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {"neighbours": self.neighbours, "percent": self.percent, "chance": self.chance, "times": self.times}


def subject_leak(
    query_Q: np.ndarray, neighbour_QK: np.ndarray, label_N: np.ndarray, subject_N: np.ndarray
) -> dict[str, Share]:
    """How often the nearest are of the same subject, and how often of the same class.

    Args:
        query_Q: places of the faces that asked.
        neighbour_QK: places of the nearest others.
        label_N: class of each face.
        subject_N: who each face is, text or numbers.

    Returns:
        ``subject``: the same person among all the nearest; ``subject_in_class``: among those of the same class;
        ``subject_in_other_classes``: among those of other classes, which no likeness of expressions explains;
        ``class``: the same class among all; ``class_of_others``: among those of other people.
    """
    same_class_QK = label_N[neighbour_QK] == label_N[query_Q][:, None]
    same_subject_QK = subject_N[neighbour_QK] == subject_N[query_Q][:, None]
    everyone_QK = np.ones_like(same_class_QK)
    # how many others there are to choose from, for each face that asked
    label, subject = _numbered(label_N), _numbered(subject_N)
    both = _numbered(label * (subject.max() + 1) + subject)
    total = len(label_N) - 1
    of_class, of_subject, of_both = (np.bincount(part)[part][query_Q] - 1 for part in (label, subject, both))
    return {
        "subject": _share(same_subject_QK, everyone_QK, of_subject, np.full_like(of_subject, total)),
        "subject_in_class": _share(same_subject_QK, same_class_QK, of_both, of_class),
        "subject_in_other_classes": _share(same_subject_QK, ~same_class_QK, of_subject - of_both, total - of_class),
        "class": _share(same_class_QK, everyone_QK, of_class, np.full_like(of_class, total)),
        "class_of_others": _share(same_class_QK, ~same_subject_QK, of_class - of_both, total - of_subject),
    }


def _numbered(value_N: np.ndarray) -> np.ndarray:
    return np.unique(value_N, return_inverse=True)[1]


def _share(same_QK: np.ndarray, counted_QK: np.ndarray, wanted_Q: np.ndarray, choice_Q: np.ndarray) -> Share:
    """The share of ``same`` in what is counted; chance has each query weigh as much as it was counted."""
    counted_Q = counted_QK.sum(1)
    num = int(counted_Q.sum())
    if not num:
        return Share(0, None, None)
    chance_Q = np.divide(wanted_Q, choice_Q, out=np.zeros(len(wanted_Q)), where=choice_Q > 0)
    return Share(num, 100 * float((same_QK & counted_QK).sum() / num), 100 * float((chance_Q * counted_Q).sum() / num))


_ROWS = {
    "subject": "the same person",
    "subject_in_class": "  of those of the same class",
    "subject_in_other_classes": "  of those of other classes",
    "class": "the same class",
    "class_of_others": "  of those of other people",
}


def format_leak(leak: dict[str, Share]) -> str:
    """The shares as a table of text."""
    rows: list[tuple[object, ...]] = [("", "neighbours", "per cent", "chance", "times")]
    for name, text in _ROWS.items():
        share = leak[name]
        rows.append((text, share.neighbours, decimal(share.percent), decimal(share.chance), decimal(share.times)))
    return align_columns(rows)
