"""The answers of single raters to the triplets of a split: read, checked, and gathered for some of the triplets.

Shape suffixes: T triplets, A answers, R raters, B some of the triplets, P their answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fecnet.data.packed import PackedDataset, read_triplets
from fecnet.utils.errors import DataError

ANSWER_ARRAYS = ("answer_offset", "annotator", "answer")
UNKNOWN = -1  # annotator of an anonymous answer
_MANY = 20  # of this many random answers, each face is chosen at least once with probability 0.999


class AnswersOf(NamedTuple):
    """The answers to B triplets; each array int64, shape (P,).

    Attributes:
        triplet_P: index 0..B−1 of the triplet.
        rater_P: index 0..R−1 of the rater.
        choice_P: the face chosen, 0..2.
    """

    triplet_P: np.ndarray
    rater_P: np.ndarray
    choice_P: np.ndarray


@dataclass(frozen=True)
class RaterAnswers:
    """All answers of a split, triplet by triplet.

    Attributes:
        offset: the answers to triplet t are at ``offset[t]``..``offset[t + 1] − 1``, int64, shape (T + 1,).
        rater_A: index 0..R−1 of the rater of each answer, int64, shape (A,).
        choice_A: the face chosen, 0..2, int64, shape (A,).
        number_R: number of each rater in the file, increasing, shape (R,); −1 for all unknown raters together.
        odd_T: the odd face of the set, 0..2, int64, shape (T,).
        repeated: number of answers by raters who answered the same triplet twice or more. They count as anonymous,
            since a rater's answers cannot confirm each other.
    """

    offset: np.ndarray
    rater_A: np.ndarray
    choice_A: np.ndarray
    number_R: np.ndarray
    odd_T: np.ndarray
    repeated: int

    @property
    def triplet_A(self) -> np.ndarray:
        """Triplet of each answer."""
        return np.repeat(np.arange(len(self.odd_T)), np.diff(self.offset))

    @property
    def answers_R(self) -> np.ndarray:
        """Number of answers of each rater, int64."""
        return np.bincount(self.rater_A, minlength=len(self.number_R))

    @property
    def unknown(self) -> int | None:
        """Index of the entry for all unknown raters, None where all are known."""
        return 0 if self.number_R[0] == UNKNOWN else None

    @property
    def names(self) -> list[str]:
        """``rater 7``, or ``unknown``."""
        return ["unknown" if number == UNKNOWN else f"rater {number}" for number in self.number_R.tolist()]

    def select(self, keep_T: np.ndarray) -> RaterAnswers:
        """The answers to the triplets where ``keep_T``, bool, shape (T,), is true; raters keep their index."""
        keep_A = keep_T[self.triplet_A]
        offset = np.concatenate([[0], np.cumsum(np.diff(self.offset)[keep_T])])
        return replace(
            self, offset=offset, rater_A=self.rater_A[keep_A], choice_A=self.choice_A[keep_A], odd_T=self.odd_T[keep_T]
        )

    def of_triplets(self, items_B: np.ndarray) -> AnswersOf:
        """The answers to the triplets with indices ``items_B``, int64, shape (B,), in that order."""
        first_B = self.offset[items_B]
        count_B = self.offset[items_B + 1] - first_B
        triplet_P = np.repeat(np.arange(len(items_B)), count_B)
        place_P = np.arange(len(triplet_P)) + np.repeat(first_B - (np.cumsum(count_B) - count_B), count_B)
        return AnswersOf(triplet_P, self.rater_A[place_P], self.choice_A[place_P])


def read_rater_answers(dataset: PackedDataset, split: str) -> RaterAnswers:
    """The answers of the raters of a split.

    Raises:
        DataError: no such split; no answers of single raters; invalid answers, see ``answer_faults``; only one rater;
            no rater with two answers; or a face that is never chosen.
    """
    dataset.triplets(split)  # raises an error that lists the splits
    path = dataset.path / "triplets" / f"{split}.npz"
    arrays = read_triplets(path, len(dataset.faces_NHWC), optional=ANSWER_ARRAYS)
    if not any(name in arrays for name in ANSWER_ARRAYS) or not arrays.get("answer", np.zeros(1)).size:
        raise DataError(
            f"{path}: no answers of single raters, at most their votes; allowed: a split with "
            f"{', '.join(ANSWER_ARRAYS)}, as fecnet prepare fec, triplets and study write them"
        )
    for fault in answer_faults(path, arrays):
        raise DataError(fault)
    offset, annotator_A = arrays["answer_offset"].astype(np.int64), arrays["annotator"].astype(np.int64)
    repeated_A = _repeated(np.repeat(np.arange(len(arrays["odd"])), np.diff(offset)), annotator_A)
    number_R, rater_A = np.unique(np.where(repeated_A, UNKNOWN, annotator_A), return_inverse=True)
    answers = RaterAnswers(
        offset,
        rater_A.astype(np.int64),
        arrays["answer"].astype(np.int64),
        number_R,
        arrays["odd"].astype(np.int64),
        int(repeated_A.sum()),
    )
    if fault := _unusable(answers):
        raise DataError(f"{path}: {fault}")
    return answers


def _repeated(triplet_A: np.ndarray, annotator_A: np.ndarray) -> np.ndarray:
    """Whether the rater of each answer is known and has answered its triplet twice or more, bool, shape (A,)."""
    number_R, rater_A = np.unique(annotator_A, return_inverse=True)
    _, pair_A, times = np.unique(triplet_A * len(number_R) + rater_A, return_inverse=True, return_counts=True)
    return np.asarray((times[pair_A] > 1) & (annotator_A != UNKNOWN))


def _unusable(answers: RaterAnswers) -> str:
    """Why the reliability of the raters cannot be estimated; empty where it can."""
    if len(answers.number_R) == 1 and answers.unknown is None:
        return f"all {len(answers.rater_A):,} answers are of {answers.names[0]}; allowed: two raters or more"
    if len(answers.number_R) == 1:
        return f"all {len(answers.rater_A):,} answers are of unknown raters; allowed: two raters or more, by number"
    if answers.answers_R.max() == 1:
        return f"none of {len(answers.number_R):,} raters answers twice; allowed: two answers or more of a rater"
    never = np.flatnonzero(np.bincount(answers.choice_A, minlength=3) == 0) + 1
    if len(never) and len(answers.choice_A) >= _MANY:
        return (
            f"none of {len(answers.choice_A):,} answers is face {' or '.join(map(str, never))} of its triplet; "
            "allowed: answers to which of three faces is the odd one, with the faces in any order"
        )
    return ""


def answer_notes(answers: RaterAnswers) -> list[str]:
    """Warnings about usable answers, one line each, such as triplets without answers or with contradictions."""
    votes_T3 = np.bincount(3 * answers.triplet_A + answers.choice_A, minlength=3 * len(answers.odd_T)).reshape(-1, 3)
    own_T = np.take_along_axis(votes_T3, answers.odd_T[:, None], 1)[:, 0]
    counted = {
        "triplets without an answer": (votes_T3.sum(1) == 0).sum(),
        "triplets whose answers contradict 'odd': another face has more": (own_T < votes_T3.max(1)).sum(),
        "answers of raters who answer a triplet twice, which count as anonymous": answers.repeated,
        "raters with one answer, whose reliability cannot be estimated": (answers.answers_R == 1).sum(),
    }
    notes = [f"{number:,} {what}" for what, number in counted.items() if number]
    if answers.unknown is not None:
        notes.append(f"{answers.answers_R[answers.unknown]:,} anonymous answers, which count as one unknown rater")
    return notes


def answer_faults(path: Path, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Faults of the arrays of answers, one line each: wrong shapes or values, or answers that contradict the votes.

    Args:
        path: the file, for messages.
        arrays: arrays of the file; all but ``ANSWER_ARRAYS`` are validated already.
    """
    lacking = [name for name in ANSWER_ARRAYS if name not in arrays]
    if lacking:
        yield f"{path}: lacks {', '.join(lacking)}; allowed: all of {', '.join(ANSWER_ARRAYS)}, or none"
        return
    offset, annotator_A, answer_A = (arrays[name] for name in ANSWER_ARRAYS)
    num_triplets, num_answers = len(arrays["odd"]), len(answer_A) if answer_A.ndim else -1
    if any(array.dtype.kind not in "iu" for array in (offset, annotator_A, answer_A)):
        yield f"{path}: {', '.join(ANSWER_ARRAYS)} must hold whole numbers"
    elif [offset.shape, annotator_A.shape, answer_A.shape] != [(num_triplets + 1,), (num_answers,), (num_answers,)]:
        shapes = f"{offset.shape}, {annotator_A.shape}, {answer_A.shape}"
        yield f"{path}: answers of shapes {shapes}; expected ({num_triplets + 1},) and twice the same (A,)"
    elif offset[0] != 0 or offset[-1] != num_answers or (offset[1:] < offset[:-1]).any():
        yield f"{path}: 'answer_offset' must rise from 0 to the number of answers, {num_answers}"
    elif num_answers and not 0 <= answer_A.min() <= answer_A.max() <= 2:
        yield f"{path}: 'answer' holds {answer_A.min()}..{answer_A.max()}; allowed: 0..2"
    elif num_answers and annotator_A.min() < UNKNOWN:
        yield f"{path}: 'annotator' holds {annotator_A.min()}; allowed: 0 or more, or {UNKNOWN} for unknown raters"
    else:
        triplet_A = np.repeat(np.arange(num_triplets), offset[1:] - offset[:-1])
        counted_T3 = np.bincount(3 * triplet_A + answer_A, minlength=3 * num_triplets).reshape(-1, 3)
        wrong_T = (counted_T3 != arrays["votes"]).any(axis=1)
        if wrong_T.any():
            bad = int(wrong_T.argmax())
            counts = f"votes {arrays['votes'][bad].tolist()}, answers {counted_T3[bad].tolist()}"
            yield f"{path}: triplet {bad}: {counts}; allowed: the same"
