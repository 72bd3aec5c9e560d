"""The overview for the owner of a study: progress, agreement of the raters, and reliability of each rater."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fecnet.evaluation.chance_agreement import ChanceAgreement, chance_agreement
from fecnet.evaluation.rater_reliability import rater_reliability
from fecnet.rate.raters import rater_name
from fecnet.rate.study import Study, now
from fecnet.rate.votes import CANNOT_TELL, Answers, read_answers, read_votes
from fecnet.utils.table import align_columns

HOURS = 48  # hours shown in the plot of answers per hour
SPLITS = 24  # maximum number of triplets with split votes that are shown
_FEW_CONTROLS, _CONTROLS_RIGHT = 3, 2 / 3  # minimum number of controls, and share of right ones of an attentive rater
_FEW_REPEATS, _REPEATS_SAME = 4, 1 / 2


@dataclass(frozen=True)
class RaterSummary:
    """Statistics of a rater.

    Attributes:
        id: number of the rater.
        name: name in tables.
        origin: ``invited`` or ``open``.
        excluded: whether the answers do not count.
        answers: number of tasks answered, including controls.
        cannot_tell: number of these without a choice.
        seconds: median time of an answer, seconds; None without answers.
        accuracy: probability of choosing the odd face (``rater_reliability``), 0..1; None without answers.
        controls: number of known controls answered.
        controls_right: number of these answered correctly.
        repeats: number of triplets answered twice.
        repeats_same: number of these with the same answer.
        fails: why the rater is unreliable, in a few words; empty if nothing is wrong.
    """

    id: int
    name: str
    origin: str
    excluded: bool
    answers: int
    cannot_tell: int
    seconds: float | None
    accuracy: float | None
    controls: int
    controls_right: int
    repeats: int
    repeats_same: int
    fails: str


@dataclass(frozen=True)
class SplitVotes:
    """A triplet on which the raters disagree: its number, its faces and the votes for each, the most split first."""

    triplet: int
    faces: tuple[int, ...]
    votes: tuple[int, ...]


@dataclass(frozen=True)
class Overview:
    """The state of a study.

    Attributes:
        stopped: whether no answers are accepted.
        answers: number of answers that count, without controls.
        wanted: number of answers wanted in total.
        triplets: number of triplets, without controls.
        complete: number of triplets with all wanted answers.
        too_few: number of triplets with fewer than two answers.
        split: number of triplets with two answers or more where fewer than two thirds agree.
        most_split: the most split of these.
        agreement: agreement of the raters.
        raters: all raters, by number.
        hours: answers in each of the last ``HOURS`` hours; the last one is the current hour.
    """

    stopped: bool
    answers: int
    wanted: int
    triplets: int
    complete: int
    too_few: int
    split: int
    most_split: tuple[SplitVotes, ...]
    agreement: ChanceAgreement
    raters: tuple[RaterSummary, ...]
    hours: tuple[int, ...]


def overview_of(study: Study) -> Overview:
    """Compute the overview from the database."""
    votes = read_votes(study)
    total_T = votes.votes_T3.sum(axis=1)
    split_T = (total_T > 1) & (votes.votes_T3.max(axis=1, initial=0) * 3 < total_T * 2)
    order = np.flatnonzero(split_T)
    share_T = votes.votes_T3[order].max(axis=1, initial=0) / total_T[order]
    order = order[np.lexsort((votes.triplet_T[order], -total_T[order], share_T))]
    counts = study.one(
        "SELECT count(*) AS triplets, coalesce(sum(wanted), 0) AS wanted FROM triplets WHERE known IS NULL"
    )
    # answered by as many raters as wanted, including "cannot tell"
    complete = study.one(
        "SELECT count(*) AS number FROM triplets WHERE known IS NULL AND wanted <= (SELECT count(*) FROM tasks "
        "JOIN answers ON answers.task = tasks.id AND replaced_at IS NULL JOIN raters ON raters.id = rater "
        "AND excluded = 0 WHERE triplet = triplets.id AND again = 0)"
    )
    assert counts is not None and complete is not None
    return Overview(
        stopped=bool(study.setting("stopped")),
        answers=int(total_T.sum()),
        wanted=counts["wanted"],
        triplets=counts["triplets"],
        complete=complete["number"],
        too_few=counts["triplets"] - int((total_T > 1).sum()),
        split=int(split_T.sum()),
        most_split=tuple(
            SplitVotes(
                int(votes.triplet_T[place]),
                tuple((votes.faces_T3[place] + 1).tolist()),
                tuple(votes.votes_T3[place].tolist()),
            )
            for place in order[:SPLITS].tolist()
        ),
        agreement=chance_agreement(votes.votes_T3),
        raters=tuple(_raters(study)),
        hours=_hours(study),
    )


def _raters(study: Study) -> list[RaterSummary]:
    stored = study.rows("SELECT id, origin, excluded FROM raters ORDER BY id")
    answers = read_answers(study)
    excluded = {row["id"] for row in stored if row["excluded"]}
    accuracy = _accuracies(answers, excluded, max((row["id"] for row in stored), default=0) + 1)
    first_of = {
        (rater, triplet): choice
        for rater, triplet, choice, again in zip(
            answers.rater_A.tolist(),
            answers.triplet_A.tolist(),
            answers.choice_A.tolist(),
            answers.again_A.tolist(),
            strict=True,
        )
        if not again
    }
    return [_rater(row, answers, float(accuracy[row["id"]]), first_of) for row in stored]


def _accuracies(answers: Answers, excluded: set[int], num: int) -> np.ndarray:
    """Reliability of each rater by number; excluded raters do not influence that of others."""
    counted_A = ~answers.again_A & (answers.choice_A != CANNOT_TELL)
    counted_A &= ~np.isin(answers.rater_A, [*excluded])
    triplets, triplet_A = np.unique(answers.triplet_A[counted_A], return_inverse=True)
    known_T = np.full(len(triplets), -1)
    known_T[triplet_A] = answers.known_A[counted_A]
    found = rater_reliability(
        triplet_A, answers.rater_A[counted_A], answers.choice_A[counted_A], num_raters=num, known_T=known_T
    )
    return found.accuracy_R


def _rater(row: Any, answers: Answers, accuracy: float, first_of: dict[tuple[int, int], int]) -> RaterSummary:
    own_A = answers.rater_A == row["id"]
    known_A = own_A & (answers.known_A >= 0)
    controls, right = int(known_A.sum()), int((answers.choice_A == answers.known_A)[known_A].sum())
    again = np.flatnonzero(own_A & answers.again_A).tolist()
    repeated = [
        (first_of[key], int(answers.choice_A[place]))
        for place in again
        if (key := (row["id"], int(answers.triplet_A[place]))) in first_of
    ]
    same = sum(first == second for first, second in repeated)
    fails = []
    if controls >= _FEW_CONTROLS and right < controls * _CONTROLS_RIGHT:
        fails.append("fails controls")
    if len(repeated) >= _FEW_REPEATS and same < len(repeated) * _REPEATS_SAME:
        fails.append("contradicts own answers")
    seconds_A = answers.seconds_A[own_A]
    return RaterSummary(
        id=row["id"],
        name=rater_name(row["id"]),
        origin=row["origin"],
        excluded=bool(row["excluded"]),
        answers=int(own_A.sum()),
        cannot_tell=int((answers.choice_A[own_A] == CANNOT_TELL).sum()),
        seconds=float(np.median(seconds_A)) if len(seconds_A) else None,
        accuracy=None if math.isnan(accuracy) else accuracy,
        controls=controls,
        controls_right=right,
        repeats=len(repeated),
        repeats_same=same,
        fails=", ".join(fails),
    )


def _hours(study: Study) -> tuple[int, ...]:
    end = (now() // 3600 + 1) * 3600
    counts = [0] * HOURS
    for row in study.rows(
        "SELECT CAST((? - answered_at) / 3600 AS INTEGER) AS ago, count(*) AS number FROM answers "
        "WHERE answered_at > ? GROUP BY ago",
        end,
        end - HOURS * 3600,
    ):
        if 0 <= row["ago"] < HOURS:
            counts[HOURS - 1 - row["ago"]] = row["number"]
    return tuple(counts)


def percent(value: float | None) -> str:
    """``87 %``, or a dash."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def coefficient(value: float) -> str:
    """``0.52``, or a dash."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def format_overview(found: Overview) -> str:
    """For the terminal: the state, the agreement, and a row for each rater."""
    agreement = found.agreement
    lines = [
        f"{'stopped' if found.stopped else 'running'}: {found.answers:,} answers, {found.wanted:,} wanted",
        f"triplets: {found.triplets:,}; complete {found.complete:,}; fewer than two answers {found.too_few:,}; "
        f"split votes {found.split:,}",
        f"agreement of pairs {percent(agreement.share)} (chance 33 %), Fleiss' kappa {coefficient(agreement.kappa)}, "
        f"Krippendorff's alpha {coefficient(agreement.alpha)}, on {agreement.triplets:,} triplets",
    ]
    rows: list[tuple[object, ...]] = [
        ("rater", "answers", "cannot tell", "seconds", "reliability", "controls", "repeats", "")
    ]
    for rater in found.raters:
        rows.append(
            (
                rater.name,
                rater.answers,
                rater.cannot_tell,
                "-" if rater.seconds is None else f"{rater.seconds:.1f}",
                percent(rater.accuracy),
                f"{rater.controls_right}/{rater.controls}",
                f"{rater.repeats_same}/{rater.repeats}",
                "excluded" if rater.excluded else rater.fails,
            )
        )
    return "\n".join([*lines, "", align_columns(rows, left=(0, 7))])
