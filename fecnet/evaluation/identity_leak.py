"""Identity leak: whether nearest neighbours share the query's subject rather than its expression.

An expression embedding should rank another subject's smile before the same subject's frown. Each share is reported
with its chance level, that of faces sampled at random from the same candidates.

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
        neighbours: number of neighbours counted; a fraction where faces at equal distance share the last ranks.
        percent: share of them with the property, %; None where none was counted.
        chance: the same for neighbours sampled at random from the candidates, %.
    """

    neighbours: float
    percent: float | None
    chance: float | None

    @property
    def times(self) -> float | None:
        """Ratio of the share to chance; None where chance is 0."""
        return self.percent / self.chance if self.percent is not None and self.chance else None

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {"neighbours": self.neighbours, "percent": self.percent, "chance": self.chance, "times": self.times}


def identity_leak(
    query_Q: np.ndarray, alike_Q22: np.ndarray, label_N: np.ndarray, subject_N: np.ndarray
) -> dict[str, Share]:
    """Share of nearest neighbours with the query's subject, and with the query's class.

    Args:
        query_Q: indices of the queries, int64, shape (Q,).
        alike_Q22: number of each query's nearest neighbours, by whether the class (second axis) and the subject (third
            axis) are those of the query, shape (Q, 2, 2); see ``Retrieval``.
        label_N: class of each face, shape (N,).
        subject_N: subject of each face, text or numbers, shape (N,).

    Returns:
        ``subject``: same subject among all neighbours; ``subject_in_class``: among neighbours of the same class;
        ``subject_in_other_classes``: among neighbours of other classes, which similar expressions do not explain;
        ``class``: same class among all neighbours; ``class_of_others``: among neighbours of other subjects.
    """
    # number of candidates for each query
    label, subject = _numbered(label_N), _numbered(subject_N)
    both = _numbered(label * (subject.max() + 1) + subject)
    total = len(label_N) - 1
    of_class, of_subject, of_both = (np.bincount(part)[part][query_Q] - 1 for part in (label, subject, both))
    of_label_Q2, of_subject_Q2 = alike_Q22.sum(2), alike_Q22.sum(1)
    all_Q = alike_Q22.sum((1, 2))
    return {
        "subject": _share(of_subject_Q2[:, 1], all_Q, of_subject, np.full_like(of_subject, total)),
        "subject_in_class": _share(alike_Q22[:, 1, 1], of_label_Q2[:, 1], of_both, of_class),
        "subject_in_other_classes": _share(
            alike_Q22[:, 0, 1], of_label_Q2[:, 0], of_subject - of_both, total - of_class
        ),
        "class": _share(of_label_Q2[:, 1], all_Q, of_class, np.full_like(of_class, total)),
        "class_of_others": _share(alike_Q22[:, 1, 0], of_subject_Q2[:, 0], of_class - of_both, total - of_subject),
    }


def _numbered(value_N: np.ndarray) -> np.ndarray:
    return np.unique(value_N, return_inverse=True)[1]


def _share(same_Q: np.ndarray, counted_Q: np.ndarray, wanted_Q: np.ndarray, choice_Q: np.ndarray) -> Share:
    """Share of the counted neighbours; the chance level weights each query by its counted neighbours."""
    num = float(counted_Q.sum())
    if not num:
        return Share(0, None, None)
    chance_Q = np.divide(wanted_Q, choice_Q, out=np.zeros(len(wanted_Q)), where=choice_Q > 0)
    percents = (100 * float(part_Q.sum() / num) for part_Q in (same_Q, chance_Q * counted_Q))
    counted = round(num, 2)
    return Share(int(counted) if counted.is_integer() else counted, *percents)


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


def explain_leak(leak: dict[str, Share]) -> str:
    """One sentence on what the shares mean for the embedding.

    It uses neighbours of other classes: neighbours of the same class may be near because they show the same moment.
    """
    share = leak["subject_in_other_classes"]
    if share.percent is None:
        return "identity leak cannot be judged: no nearest face shows another expression; a larger -k finds some"
    if share.times is None:
        return "identity leak cannot be judged: no subject of these queries shows more than one expression"
    times = round(share.times, 1)
    said = (
        f"where a nearest face shows another expression, it is of the same subject {times} times as often as by chance"
    )
    return f"{said}: " + (
        "above 1, the embedding distinguishes people, not only expressions"
        if times > 1
        else "up to 1, the embedding does not show who somebody is"
    )
