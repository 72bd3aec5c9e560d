"""The answers of a study as arrays, by triplet and rater.

An answer counts if it is the rater's last one to its task, the rater is not excluded, and the triplet was not asked a
second time. Shape suffixes: A answers, T triplets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fecnet.rate.study import Study

CANNOT_TELL = -1

_COUNTED = """
SELECT triplets.id AS triplet, tasks.rater, tasks.again, triplets.known, answers.choice, answers.seconds
FROM answers JOIN tasks ON tasks.id = answers.task JOIN triplets ON triplets.id = tasks.triplet
WHERE answers.replaced_at IS NULL
ORDER BY answers.id
"""
_VOTES = """
SELECT triplets.id, a, b, c,
    coalesce(sum(choice = 0), 0), coalesce(sum(choice = 1), 0), coalesce(sum(choice = 2), 0)
FROM triplets
JOIN tasks ON tasks.triplet = triplets.id AND tasks.again = 0
JOIN answers ON answers.task = tasks.id AND answers.replaced_at IS NULL
JOIN raters ON raters.id = tasks.rater AND raters.excluded = 0
WHERE triplets.known IS NULL
GROUP BY triplets.id
"""


class Votes(NamedTuple):
    """The triplets that were answered, without controls.

    Attributes:
        triplet_T: numbers of the triplets in the study, int64, shape (T,).
        faces_T3: numbers of the faces, from 0, int64, shape (T, 3).
        votes_T3: number of raters who chose each face, int64, shape (T, 3); zeros where nobody could tell.
    """

    triplet_T: np.ndarray
    faces_T3: np.ndarray
    votes_T3: np.ndarray


class Answers(NamedTuple):
    """The last answer to each task, including those of excluded raters and of controls; arrays of shape (A,).

    Attributes:
        triplet_A: number of the triplet in the study, int64.
        rater_A: number of the rater, int64.
        choice_A: face 0..2, or ``CANNOT_TELL``, int64.
        known_A: the known odd face of a control, else −1, int64.
        again_A: whether the triplet was asked a second time, bool.
        seconds_A: time for which the question was shown, seconds, float64.
    """

    triplet_A: np.ndarray
    rater_A: np.ndarray
    choice_A: np.ndarray
    known_A: np.ndarray
    again_A: np.ndarray
    seconds_A: np.ndarray


def read_votes(study: Study) -> Votes:
    """The votes for the faces of each answered triplet."""
    values = np.array([tuple(row) for row in study.rows(_VOTES)], np.int64).reshape(-1, 7)
    return Votes(values[:, 0], values[:, 1:4] - 1, values[:, 4:])


def read_answers(study: Study) -> Answers:
    """The last answer to each task, in the order of arrival."""
    rows = study.rows(_COUNTED)

    def column(name: str) -> np.ndarray:
        return np.array([-1 if row[name] is None else row[name] for row in rows], np.int64)

    seconds_A = np.array([row["seconds"] for row in rows], np.float64)
    again_A = column("again") > 0
    return Answers(column("triplet"), column("rater"), column("choice"), column("known"), again_A, seconds_A)
