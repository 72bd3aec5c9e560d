"""Twelve simulated raters of known error rates: six careful ones, four who nearly guess, two who copy others.

The annotators of ``fecnet.synthetic.annotators`` err on hard triplets; these err at random, so the result that a model
of raters should find is known. Shape suffixes: T triplets, A answers, R raters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LOOKING = (0.03, 0.06, 0.10, 0.15, 0.20, 0.26)
_GUESSING = (0.54, 0.58, 0.62, 0.66)  # pure guessing has an error rate of 2/3
_COPIED = (8, 4)  # the raters whom raters 10 and 11 copy, with error rates of 0.62 and 0.20
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
        """Whether no single face has the most votes, bool, shape (T,)."""
        return (self.votes_T3 == self.votes_T3.max(axis=1, keepdims=True)).sum(axis=1) > 1


def crowd_answers(odd_T: np.ndarray, rng: np.random.Generator) -> CrowdAnswers:
    """Three of the raters answer each triplet; a copying rater gives the other's answer, even if that one is not asked.

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
