"""Wrong labels on purpose, to measure what a method makes of them (as in Self-Cure Networks, arXiv:2002.10392).

Shape suffixes: M labels.
"""

from __future__ import annotations

import numpy as np


def check_noise(rate: float, num_classes: int) -> None:
    """Refuse a rate that means nothing.

    Raises:
        ValueError: the rate is not in 0..1, or there is no wrong class to choose.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"label-noise: {rate}; allowed: 0 to 1, the share of labels to replace")
    if rate > 0 and num_classes < 2:
        raise ValueError(f"label-noise: {rate} with {num_classes} class; a wrong label needs 2 or more")


def uniform_label_noise(
    label_M: np.ndarray, num_classes: int, rate: float, seed: int | np.random.SeedSequence
) -> tuple[np.ndarray, np.ndarray]:
    """Replace labels by wrong ones, uniform among the wrong classes.

    Args:
        label_M: class index, 0..num_classes - 1, shape (M,).
        num_classes: classes to choose from.
        rate: share of the labels, 0..1; exactly ``round(rate * M)`` of them are replaced.
        seed: decides which labels and by what.

    Returns:
        noisy_M: the labels with their replacements, int64, shape (M,).
        changed_M: which are replaced, bool, shape (M,).

    Raises:
        ValueError: rate or labels out of range.
    """
    check_noise(rate, num_classes)
    label_M = np.asarray(label_M, np.int64)
    if ((label_M < 0) | (label_M >= num_classes)).any():
        raise ValueError(f"label-noise: labels {label_M.min()}..{label_M.max()}; allowed: 0..{num_classes - 1}")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(label_M))[: round(rate * len(label_M))]
    noisy_M, changed_M = label_M.copy(), np.zeros(len(label_M), bool)
    if len(chosen):  # a step of 1..classes - 1 around the circle of classes lands on each wrong class alike
        noisy_M[chosen] = (label_M[chosen] + rng.integers(1, num_classes, len(chosen))) % num_classes
        changed_M[chosen] = True
    return noisy_M, changed_M
