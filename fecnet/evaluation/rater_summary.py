"""Statistics of each rater: answers, agreement with the others, reliability, and the ability that a net learned.

Shape suffixes: A answers, T triplets, R raters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.evaluation.rater_reliability import rater_reliability
from fecnet.utils.table import align_columns

_SHOWN = 40  # maximum number of raters in the table


@dataclass(frozen=True)
class RaterRow:
    """One rater.

    Attributes:
        name: ``rater 7``, or ``unknown`` for all anonymous answers together.
        answers: number of answers.
        agreement: share of the other raters' answers to the same triplets that are equal, 0..1; None where no other
            rater answered them.
        reliability: probability of choosing the odd face, 0..1, by Dawid and Skene's model (``rater_reliability``).
        ability: share of answers that follow the net instead of guessing, 0..1, as learned by the criterion
            ``rater_choice``; None without a run.
    """

    name: str
    answers: int
    agreement: float | None
    reliability: float
    ability: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def summarise_raters(
    names: Sequence[str],
    triplet_A: np.ndarray,
    rater_A: np.ndarray,
    answer_A: np.ndarray,
    *,
    unknown: int | None = None,
    ability_R: np.ndarray | None = None,
) -> list[RaterRow]:
    """A row for each rater, in the order of ``names``; the result does not depend on the order of the answers.

    Args:
        names: names of the R raters, each with at least one answer.
        triplet_A: triplet of each answer, from 0, shape (A,).
        rater_A: rater of each answer, 0..R−1, shape (A,).
        answer_A: the face chosen, 0..2, shape (A,).
        unknown: index of the entry for all unknown raters, or None.
        ability_R: ability of each rater as learned by a net, shape (R,), or None.
    """
    num = len(names)
    found = rater_reliability(triplet_A, rater_A, answer_A, num_raters=num, unknown=unknown)
    agreement_R = _agreement(triplet_A, rater_A, answer_A, num)
    return [
        RaterRow(
            name,
            int(found.answers_R[rater]),
            None if np.isnan(agreement_R[rater]) else round(float(agreement_R[rater]), 4),
            round(float(found.accuracy_R[rater]), 4),
            None if ability_R is None else round(float(ability_R[rater]), 4),
        )
        for rater, name in enumerate(names)
    ]


def _agreement(triplet_A: np.ndarray, rater_A: np.ndarray, answer_A: np.ndarray, num: int) -> np.ndarray:
    """Share of pairs of a rater's and another rater's answer to the same triplet that are equal; NaN without a pair."""
    votes_T3 = np.bincount(3 * triplet_A + answer_A, minlength=3 * (int(triplet_A.max()) + 1)).reshape(-1, 3)
    same_R = np.bincount(rater_A, votes_T3[triplet_A, answer_A] - 1, num)
    pairs_R = np.bincount(rater_A, votes_T3.sum(axis=1)[triplet_A] - 1, num)
    return np.divide(same_R, pairs_R, out=np.full(num, np.nan), where=pairs_R > 0)


def format_raters(rows: Sequence[RaterRow]) -> str:
    """A table in %, the least reliable rater first; at most 40 raters."""
    learned = rows[0].ability is not None
    cells: list[list[str]] = [["rater", "answers", "agreement", "reliability", *(["ability"] if learned else [])]]
    for row in sorted(rows, key=lambda row: row.reliability)[:_SHOWN]:
        shares = (row.agreement, row.reliability, *((row.ability,) if learned else ()))
        shown = ("-" if share is None else f"{100 * share:.1f}" for share in shares)
        cells.append([row.name, f"{row.answers:,}", *shown])
    more = f"\n… {len(rows) - _SHOWN:,} further raters, more reliable; all by --json" if len(rows) > _SHOWN else ""
    return align_columns(cells) + more


def raters_plot(rows: Sequence[RaterRow], title: str, path: Path) -> None:
    """Write a point for each rater: reliability, and ability where it is known, by agreement; larger with more answers.

    Raises:
        UserError: matplotlib is not installed.
    """
    rows = [row for row in rows if row.agreement is not None]
    most = max((row.answers for row in rows), default=1)
    size = [12 + 60 * row.answers / most for row in rows]
    agreement = [row.agreement for row in rows]
    figure, axes = new_figure(5.6, 4.6)
    axes.scatter(agreement, [row.reliability for row in rows], size, "#4c78a8", alpha=0.7, label="reliability")
    if rows and rows[0].ability is not None:
        axes.scatter(
            agreement, [row.ability for row in rows], size, "#e45756", marker="^", alpha=0.7, label="learned ability"
        )
    axes.axhline(1 / 3, color="#888888", lw=1, ls="--", label="reliability of guessing")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("agreement with the other raters")
    axes.set_ylabel("probability")
    axes.legend(loc="upper left", fontsize=8)
    axes.set_title(title, fontsize=10)
    save_figure(figure, path)
