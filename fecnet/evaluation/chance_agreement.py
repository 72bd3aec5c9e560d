"""Agreement of raters of odd-one-out questions, and how far it lies above chance: Fleiss' kappa, Krippendorff's alpha.

Which face of a triplet is called the first, second or third means nothing. Both coefficients compute the agreement by
chance from how often each *category* is chosen over all triplets, and would change with the order in which the faces
are listed. So every triplet is counted in its three rotations: each category is then chosen equally often, agreement by
chance is that of three equal choices, and the coefficients do not depend on any order.

Shape suffixes: T triplets; three faces each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ChanceAgreement(NamedTuple):
    """Agreement over the triplets with two answers or more; NaN where there are none.

    Attributes:
        triplets: how many those are.
        share: mean over the triplets of the share of pairs of raters who chose the same face; chance 1/3.
        kappa: Fleiss' kappa, 0 for chance, 1 for unanimous answers; J. L. Fleiss, 1971.
        alpha: Krippendorff's alpha of nominal data, which weighs triplets by their number of answers.
    """

    triplets: int
    share: float
    kappa: float
    alpha: float


def chance_agreement(votes_T3: np.ndarray) -> ChanceAgreement:
    """Agreement of the raters behind some votes.

    Args:
        votes_T3: raters who chose each face, whole numbers, shape (T, 3); triplets may have any number of raters.
    """
    votes_T3 = np.asarray(votes_T3, np.int64).reshape(-1, 3)
    votes_T3 = votes_T3[votes_T3.sum(axis=1) > 1]
    if not len(votes_T3):
        return ChanceAgreement(0, float("nan"), float("nan"), float("nan"))
    total_T = votes_T3.sum(axis=1)
    pairs_T = (votes_T3 * (votes_T3 - 1)).sum(axis=1) / (total_T * (total_T - 1))
    share = float(pairs_T.mean())
    return ChanceAgreement(len(votes_T3), share, (share - 1 / 3) / (1 - 1 / 3), _alpha(votes_T3))


def _alpha(votes_T3: np.ndarray) -> float:
    """Krippendorff's alpha of the triplets in all three rotations."""
    import krippendorff  # of the extra ``web``

    rotated_U3 = np.concatenate([np.roll(votes_T3, turn, axis=1) for turn in range(3)])
    return float(krippendorff.alpha(value_counts=rotated_U3, level_of_measurement="nominal"))
