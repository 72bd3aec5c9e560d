"""How reliable each rater of odd-one-out questions is, and what the raters say together: Dawid and Skene's model.

A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979, in the
form with one accuracy for each rater (one coin): a rater finds the face that the question is about with this
probability, and takes each of the other faces equally often. The three faces of a triplet are in no order that means
anything, so a table of confusions between first, second and third faces would have no meaning either.

Two things differ from the textbook, so that little data cannot lead astray:

- An accuracy is that of the rater's *other* answers (leave one out), with two further answers at the accuracy
  ``_PRIOR``. So nobody vouches for their own answers.
- No accuracy is lower than ``_PRIOR``. A rater seen once has just that, the least weight that there is, and never
  overturns an agreement of two; unanimous answers are never overturned at all.

Shape suffixes: A answers, T triplets, R raters, K faces of a triplet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fecnet.utils.errors import UserError

_PRIOR = 0.4  # accuracy of a rater of whom nothing is known: little above the third that guessing reaches
_PRIOR_ANSWERS = 2.0
_HIGHEST = 0.99  # nobody's weight is without limit
_ROUNDS, _TOLERANCE = 200, 1e-10
_EQUAL = 1e-6  # probabilities this close are a tie: sums in another order differ in their last bits


class Reliability(NamedTuple):
    """What ``rater_reliability`` found.

    Attributes:
        accuracy_R: probability that a rater chooses the face that the triplet is about, with the two further answers
            of the prior; NaN for a rater without an answer.
        answers_R: how many answers that is about, int64.
        probability_TK: probability that each face is the odd one, all 1/K for a triplet without answers.
        odd_T: the most probable face, int64; −1 where two are equally probable.
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
        triplet_A: triplet of each answer, from 0.
        rater_A: rater of each answer, from 0; at most one answer of a rater to a triplet.
        answer_A: the face chosen, 0..K−1.
        num_triplets: T; by default the highest triplet and one.
        num_raters: R; by default the highest rater and one.
        known_T: the odd face where it is known, as of control triplets, else −1; None where none is.
        unknown: the rater who stands for all unknown ones, with one accuracy; only it may answer a triplet repeatedly.
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
    """Probability of each face given the accuracies; each face is as likely before the answers, shape (T, K)."""
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
