"""Twelve simulated raters of known error rates: six who look, four who nearly guess, two who copy others.

Unlike the annotators of ``fecnet.synthetic.annotators``, who err on what is hard, these err at random: what a model of
raters can find out of them is known. Shape suffixes: T triplets, A answers, R raters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LOOKING = (0.03, 0.06, 0.10, 0.15, 0.20, 0.26)
_GUESSING = (0.54, 0.58, 0.62, 0.66)  # 2/3 is a guess
_COPIED = (8, 4)  # by raters 10 and 11: a guess of 0.62, a look of 0.20
# Probability that each rater takes one of the two faces that are not the odd one.
CROWD_ERROR = np.array([*_LOOKING, *_GUESSING, *(([*_LOOKING, *_GUESSING])[rater] for rater in _COPIED)])
ANSWERS_EACH = 3  # raters who answer a triplet


@dataclass(frozen=True)
class CrowdAnswers:
    """The answers of the crowd, three to each triplet.

    Attributes:
        rater_T3: who answers, increasing, 0..11, shape (T, 3).
        choice_T3: the face that each of them chooses, 0..2, shape (T, 3).
        votes_T3: raters who chose face k, shape (T, 3).
    """

    rater_T3: np.ndarray
    choice_T3: np.ndarray
    votes_T3: np.ndarray

    @property
    def tied_T(self) -> np.ndarray:
        """No face has more votes than each other one, bool, shape (T,)."""
        return (self.votes_T3 == self.votes_T3.max(axis=1, keepdims=True)).sum(axis=1) > 1


def crowd_answers(odd_T: np.ndarray, rng: np.random.Generator) -> CrowdAnswers:
    """Three of the raters answer each triplet; a copy is the answer of whom it copies, asked or not.

    Args:
        odd_T: the true odd face, 0..2, shape (T,).
        rng: source of all randomness.
    """
    size = (len(odd_T), len(CROWD_ERROR))
    is_wrong_TR = rng.random(size) < CROWD_ERROR
    choice_TR = (odd_T[:, None] + is_wrong_TR * rng.integers(1, 3, size)) % 3
    choice_TR[:, -len(_COPIED) :] = choice_TR[:, _COPIED]
    rater_T3 = np.sort(rng.random(size).argsort(axis=1)[:, :ANSWERS_EACH], axis=1)
    choice_T3 = np.take_along_axis(choice_TR, rater_T3, axis=1)
    return CrowdAnswers(rater_T3, choice_T3, (choice_T3[..., None] == np.arange(3)).sum(axis=1))
