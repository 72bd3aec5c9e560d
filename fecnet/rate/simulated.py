"""Raters who answer by a rule: to try a study, and what is learned from it, before people are asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from uuid import uuid4

from fecnet.rate.answers import GivenAnswer, take_answer
from fecnet.rate.raters import Rater
from fecnet.rate.study import Study
from fecnet.rate.tasks import tasks_from
from fecnet.utils.errors import DataError

Rule = Callable[[Sequence[int]], int | None]  # numbers of the faces from left to right, to the place chosen

_SECONDS = 1.5  # for which a question is shown


def answer_all(study: Study, rater: Rater, rule: Rule, *, most: int | None = None) -> int:
    """Answer the tasks of a rater until there are none.

    Args:
        study: an open one.
        rater: who answers.
        rule: the place of the odd face, 0..2 from left to right, or None for "cannot tell".
        most: tasks at most; None = all.

    Returns:
        How many were answered.
    """
    done = 0
    while most is None or done < most:
        waiting = [task for task in tasks_from(study, rater.id) if task.answer is None]
        if not waiting:
            break
        for task in waiting[: None if most is None else most - done]:
            take_answer(study, rater, GivenAnswer(task.number, str(uuid4()), rule(task.faces), _SECONDS))
            done += 1
    return done


def by_labels(study: Study, *, error: float, seed: int) -> Rule:
    """The rule of a rater to whom faces of one class look alike.

    Args:
        study: an open one whose pictures have labels (``fecnet rate new --labelled``).
        error: share of the tasks that are answered at random.
        seed: of these; another one for each rater.

    Returns:
        Chooses the face of another class than the two others; any face where there is none.

    Raises:
        DataError: a face without a label.
    """
    label_of = {row["id"]: row["label"] for row in study.rows("SELECT id, label FROM faces")}
    if not all(label_of.values()):
        raise DataError(f"{study.path}: faces without a label; allowed: a study made with --labelled")
    rng = random.Random(seed)

    def rule(faces: Sequence[int]) -> int:
        labels = [label_of[face] for face in faces]
        if len({*labels}) != 2 or rng.random() < error:
            return rng.randrange(3)
        return labels.index(min(labels, key=labels.count))

    return rule
