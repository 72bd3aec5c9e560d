"""Synthetic label noise, to evaluate the robustness of a method (as in Self-Cure Networks, arXiv:2002.10392).

Shape suffixes: M labels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fecnet.prepare.labelled.labelled_source import TRAIN
from fecnet.prepare.writer import PackedWriter
from fecnet.utils.errors import DataError


class SplitLabels(NamedTuple):
    """The labels of a split, arguments of ``PackedWriter.add_labels``."""

    faces_M: np.ndarray
    label_M: np.ndarray
    distribution_MK: np.ndarray | None = None
    valence_arousal_M2: np.ndarray | None = None


def check_noise(rate: float, num_classes: int) -> None:
    """Check a noise rate.

    Raises:
        DataError: the rate is not in 0..1, or there is only one class.
    """
    if not 0 <= rate <= 1:
        raise DataError(f"label-noise: {rate}; allowed: 0 to 1, the share of labels to replace")
    if rate > 0 and num_classes < 2:
        raise DataError(f"label-noise: {rate} with {num_classes} class; a wrong label needs 2 or more")


def uniform_label_noise(
    label_M: np.ndarray, num_classes: int, rate: float, seed: int | np.random.SeedSequence
) -> tuple[np.ndarray, np.ndarray]:
    """Replace labels by wrong ones, uniformly among the wrong classes.

    Args:
        label_M: class index, 0..num_classes - 1, shape (M,).
        num_classes: number of classes.
        rate: share of the labels, 0..1; exactly ``round(rate * M)`` of them are replaced.
        seed: seed of the random choice.

    Returns:
        noisy_M: the labels with their replacements, int64, shape (M,).
        changed_M: True where replaced, bool, shape (M,).

    Raises:
        DataError: rate out of range.
    """
    check_noise(rate, num_classes)
    label_M = np.asarray(label_M, np.int64)
    assert ((label_M >= 0) & (label_M < num_classes)).all(), (label_M.min(), label_M.max(), num_classes)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(label_M))[: round(rate * len(label_M))]
    noisy_M, changed_M = label_M.copy(), np.zeros(len(label_M), bool)
    if len(chosen):  # a shift by 1..classes - 1, modulo classes, gives each wrong class with equal probability
        noisy_M[chosen] = (label_M[chosen] + rng.integers(1, num_classes, len(chosen))) % num_classes
        changed_M[chosen] = True
    return noisy_M, changed_M


def write_label_noise(
    writer: PackedWriter,
    label_set: str,
    classes: Sequence[str],
    clean: Mapping[str, SplitLabels],
    *,
    rate: float,
    seed: int,
) -> dict[str, Any]:
    """Write a separate label set with label noise, named like ``rafdb_noise30``.

    Its split ``train`` has only the labels of ``uniform_label_noise``, since votes would reveal the clean ones. The
    other splits are those of ``clean``.

    Args:
        writer: an open writer.
        label_set: name of the label set that the noise is added to.
        classes: K names in label order.
        clean: clean labels by split, with ``train``.
        rate: share of the training labels that are replaced, above 0.
        seed: seed of the random choice.

    Returns:
        Coverage by label set and split: number of labels kept and, for ``train``, ``changed``.
    """
    stream = np.random.SeedSequence([seed, *b"label noise"])
    label_M, changed_M = uniform_label_noise(clean[TRAIN].label_M, len(classes), rate, stream)
    name = f"{label_set}_noise{100 * rate:g}"
    coverage: dict[str, Any] = {}
    for split, labels in clean.items():
        written = SplitLabels(labels.faces_M, label_M) if split == TRAIN else labels
        writer.add_labels(name, split, classes=classes, **written._asdict())
        coverage[split] = {"read": len(labels.faces_M), "kept": len(labels.faces_M)}
    coverage[TRAIN] |= {"changed": int(changed_M.sum()), "rate": rate, "seed": seed}
    return {name: coverage}
