"""Reliability of the raters of odd-one-out questions, and the answer of all raters together: Dawid and Skene's model.

A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979, in the
form with one accuracy for each rater ("one coin"): a rater chooses the true odd face with this probability, and each of
the other faces equally often. The order of the faces in a triplet is arbitrary, so a confusion matrix between first,
second and third face would be meaningless.
Two differences from the textbook make the model robust with little data:
- The weight of an answer comes from the rater's *other* answers (leave one out), with two prior answers at the accuracy
  ``_PRIOR``. An answer therefore does not raise its own weight.
- No accuracy is lower than ``_PRIOR``. A rater with one answer has exactly this minimum weight and never overrules two
  raters who agree; unanimous answers are never overruled.

Shape suffixes: A answers, T triplets, R raters, K faces of a triplet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fecnet.utils.errors import UserError

_PRIOR = 0.4  # accuracy of an unknown rater: a little above guessing, 1/3
_PRIOR_ANSWERS = 2.0
_HIGHEST = 0.99  # maximum accuracy, which bounds the weight of a rater
_ROUNDS, _TOLERANCE = 200, 1e-10
_EQUAL = 1e-6  # probabilities this close are a tie, since sums in another order differ in their last bits


class Reliability(NamedTuple):
    """The result of ``rater_reliability``.

    Attributes:
        accuracy_R: probability that a rater chooses the true odd face, including the two prior answers, shape (R,); NaN
            for a rater without an answer.
        answers_R: number of answers of each rater, int64, shape (R,).
        probability_TK: probability that each face is the odd one, shape (T, K); 1/K for a triplet without answers.
        odd_T: the most probable face, int64, shape (T,); −1 where two are equally probable.
    """

    accuracy_R: np.ndarray
    answers_R: np.ndarray
    probability_TK: np.ndarray
    odd_T: np.ndarray


def rater_reliability(
    triplet_A: np.ndarray,
    rater_A: np.ndarray,
    answer_A: np.ndarray,
    *,
    num_triplets: int | None = None,
    num_raters: int | None = None,
    known_T: np.ndarray | None = None,
    unknown: int | None = None,
    num_choices: int = 3,
) -> Reliability:
    """Accuracy of each rater and the odd face of each triplet, by EM from the shares of the votes.

    The result does not depend on the order of the answers, of the faces in a triplet, or of the raters.

    Args:
        triplet_A: triplet of each answer, from 0, shape (A,).
        rater_A: rater of each answer, from 0, shape (A,); a rater answers a triplet at most once.
        answer_A: the face chosen, 0..K−1, shape (A,).
        num_triplets: T; None for the highest triplet index plus one.
        num_raters: R; None for the highest rater index plus one.
        known_T: the odd face where it is known, as for control triplets, else −1, shape (T,); None where none is known.
        unknown: index of the entry for all unknown raters, which have one accuracy; only it may have several answers to
            a triplet.
        num_choices: K.

    Raises:
        UserError: shapes differ, a number is out of range, or a rater answers a triplet twice.
    """
    triplet_A, rater_A, answer_A = (np.asarray(values, np.int64) for values in (triplet_A, rater_A, answer_A))
    num_triplets = int(triplet_A.max(initial=-1)) + 1 if num_triplets is None else num_triplets
    num_raters = int(rater_A.max(initial=-1)) + 1 if num_raters is None else num_raters
    _check(triplet_A, rater_A, answer_A, num_triplets, num_raters, num_choices, unknown)
    fixed_T = np.full(num_triplets, -1) if known_T is None else np.asarray(known_T, np.int64)
    answers_R = np.bincount(rater_A, minlength=num_raters)

    probability_TK = _shares(triplet_A, answer_A, num_triplets, num_choices)
    probability_TK = _with_known(probability_TK, fixed_T)
    for _ in range(_ROUNDS):
        right_A = probability_TK[triplet_A, answer_A]
        others_A = np.bincount(rater_A, right_A, num_raters)[rater_A] - right_A
        accuracy_A = (others_A + _PRIOR * _PRIOR_ANSWERS) / (answers_R[rater_A] - 1 + _PRIOR_ANSWERS)
        accuracy_A = accuracy_A.clip(_PRIOR, _HIGHEST)
        before_TK = probability_TK
        probability_TK = _with_known(_posterior(triplet_A, answer_A, accuracy_A, before_TK.shape), fixed_T)
        if np.abs(probability_TK - before_TK).max(initial=0.0) < _TOLERANCE:
            break

    right_R = np.bincount(rater_A, probability_TK[triplet_A, answer_A], num_raters)
    accuracy_R = (right_R + _PRIOR * _PRIOR_ANSWERS) / (answers_R + _PRIOR_ANSWERS)
    ordered_TK = np.sort(probability_TK, axis=1)
    is_tie_T = ordered_TK[:, -1] - ordered_TK[:, -2] < _EQUAL
    odd_T = np.where(is_tie_T, -1, probability_TK.argmax(axis=1))
    return Reliability(np.where(answers_R > 0, accuracy_R, np.nan), answers_R, probability_TK, odd_T)


def _shares(triplet_A: np.ndarray, answer_A: np.ndarray, num_triplets: int, num_choices: int) -> np.ndarray:
    votes_TK = np.bincount(triplet_A * num_choices + answer_A, minlength=num_triplets * num_choices)
    votes_TK = votes_TK.reshape(num_triplets, num_choices).astype(np.float64)
    total_T1 = votes_TK.sum(axis=1, keepdims=True)
    return np.divide(votes_TK, total_T1, out=np.full_like(votes_TK, 1 / num_choices), where=total_T1 > 0)


def _posterior(
    triplet_A: np.ndarray, answer_A: np.ndarray, accuracy_A: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Posterior probability of each face given the accuracies, with a uniform prior, shape (T, K)."""
    num_choices = shape[1]
    weight_A = np.log(accuracy_A * (num_choices - 1) / (1 - accuracy_A))
    log_TK = np.bincount(triplet_A * num_choices + answer_A, weight_A, shape[0] * num_choices).reshape(shape)
    share_TK = np.exp(log_TK - log_TK.max(axis=1, keepdims=True))
    return np.asarray(share_TK / share_TK.sum(axis=1, keepdims=True))


def _with_known(probability_TK: np.ndarray, known_T: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(known_T >= 0)
    probability_TK[rows] = np.eye(probability_TK.shape[1])[known_T[rows]]
    return probability_TK


def _check(
    triplet_A: np.ndarray,
    rater_A: np.ndarray,
    answer_A: np.ndarray,
    num_triplets: int,
    num_raters: int,
    num_choices: int,
    unknown: int | None,
) -> None:
    if not triplet_A.shape == rater_A.shape == answer_A.shape or triplet_A.ndim != 1:
        raise UserError(f"shapes {triplet_A.shape}, {rater_A.shape}, {answer_A.shape}; expected three times (A,)")
    limits = {"triplet": (triplet_A, num_triplets), "rater": (rater_A, num_raters), "answer": (answer_A, num_choices)}
    for name, (values, limit) in limits.items():
        if values.size and not 0 <= values.min() <= values.max() < limit:
            raise UserError(f"{name}: {values.min()}..{values.max()}; allowed: 0..{limit - 1}")
    pair_A = (triplet_A * max(num_raters, 1) + rater_A)[rater_A != (-1 if unknown is None else unknown)]
    if len(np.unique(pair_A)) < len(pair_A):
        raise UserError("a rater answers a triplet twice; allowed: one answer each")
