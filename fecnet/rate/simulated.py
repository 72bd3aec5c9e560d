"""Simulated raters who answer by a rule, to test a study and training on it before people are asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from uuid import uuid4

from fecnet.rate.answers import GivenAnswer, take_answer
from fecnet.rate.raters import Rater
from fecnet.rate.study import Study
from fecnet.rate.tasks import tasks_from
from fecnet.utils.errors import DataError

Rule = Callable[[Sequence[int]], int | None]  # maps numbers of the faces from left to right to the chosen place
_SECONDS = 1.5  # recorded time of an answer


def answer_all(study: Study, rater: Rater, rule: Rule, *, most: int | None = None) -> int:
    """Answer the tasks of a rater until there are none.

    Args:
        study: an open study.
        rater: the rater.
        rule: returns the place of the odd face, 0..2 from left to right, or None for "cannot tell".
        most: maximum number of tasks; None = all.

    Returns:
        The number of answered tasks.
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
    """The rule of a rater who judges faces by their class.

    Args:
        study: an open study whose pictures have labels (``fecnet rate new --labelled``).
        error: share of the tasks that are answered at random.
        seed: seed of these answers; use another one for each rater.

    Returns:
        A rule that chooses the face whose class differs from the two others, or any face where there is none.

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
