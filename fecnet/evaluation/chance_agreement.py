"""Agreement of raters on odd-one-out questions, corrected for chance: Fleiss' kappa and Krippendorff's alpha.

The order of the faces in a triplet is arbitrary. Both coefficients compute chance agreement from how often each
*category* (first, second or third face) is chosen over all triplets, so they would change with that order. Every
triplet is therefore counted in its three rotations: each category is then chosen equally often, chance agreement is
1/3, and the coefficients do not depend on the order.

Shape suffixes: T triplets; three faces each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ChanceAgreement(NamedTuple):
    """Agreement over the triplets with two answers or more; NaN where there are none.

    Attributes:
        triplets: number of these triplets.
        share: mean over the triplets of the share of pairs of raters who chose the same face; 1/3 by chance.
        kappa: Fleiss' kappa, 0 for chance, 1 for unanimous answers; J. L. Fleiss, 1971.
        alpha: Krippendorff's alpha of nominal data, which weighs triplets by their number of answers.
    """

    triplets: int
    share: float
    kappa: float
    alpha: float


def chance_agreement(votes_T3: np.ndarray) -> ChanceAgreement:
    """Agreement of raters, from their votes.

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
    import krippendorff  # installed by the extra ``web``

    rotated_U3 = np.concatenate([np.roll(votes_T3, turn, axis=1) for turn in range(3)])
    return float(krippendorff.alpha(value_counts=rotated_U3, level_of_measurement="nominal"))
