"""Cross-validation results: mean and spread of the metrics over folds, and the sum of their confusion matrices.

Shape suffixes: F folds, M labelled faces, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fecnet.evaluation.classification import METRICS, ClassAccuracy, format_classes
from fecnet.utils.table import align_columns


@dataclass(frozen=True, eq=False)
class FoldAccuracy:
    """Results of one fold.

    Attributes:
        number: number of the fold, from 1.
        accuracy: accuracy on the test faces of the fold.
        num_trained: number of training faces.
        seen_subjects: number of test faces whose subject is also in training; None where subjects are unknown.
    """

    number: int
    accuracy: ClassAccuracy
    num_trained: int
    seen_subjects: int | None = None

    @property
    def absent(self) -> list[str]:
        """Classes without a test face in the fold."""
        return [name for name, total in zip(self.accuracy.classes, self.accuracy.total_K, strict=True) if not total]


def summarise_folds(folds: Sequence[FoldAccuracy]) -> dict[str, Any]:
    """For JSON: each fold, ``mean`` and ``sd`` of the metrics over folds, and ``together`` for the summed matrix.

    ``sd`` is the sample standard deviation (n − 1), None for one fold. The folds share most of their training faces, so
    it describes the spread over folds and is not an error of the mean.
    """
    metrics_FX = np.array([[fold.accuracy.metrics()[name] for name in METRICS] for fold in folds], np.float64)
    sd_X = metrics_FX.std(0, ddof=1) if len(folds) > 1 else [None] * len(METRICS)
    return {
        "folds": [
            {
                "fold": fold.number,
                "learnt": fold.num_trained,
                "seen_subjects": fold.seen_subjects,
                "classes_not_tested": fold.absent,
                **fold.accuracy.to_dict(),
            }
            for fold in folds
        ],
        "mean": {name: round(float(value), 4) for name, value in zip(METRICS, metrics_FX.mean(0), strict=True)},
        "sd": {name: None if sd is None else round(float(sd), 4) for name, sd in zip(METRICS, sd_X, strict=True)},
        "together": sum_folds(folds).to_dict(),
    }


def format_folds(folds: Sequence[FoldAccuracy]) -> str:
    """A row per fold, mean ± sd, and the table of classes over all folds."""
    heads = ("fold", "trained on", "tested", "seen subjects", *(name.replace("_", " ") for name in METRICS))
    rows = [
        (
            str(fold.number),
            str(fold.num_trained),
            str(int(fold.accuracy.total_K.sum())),
            "-" if fold.seen_subjects is None else str(fold.seen_subjects),
            *(f"{fold.accuracy.metrics()[name]:.1f}" for name in METRICS),
        )
        for fold in folds
    ]
    summary = summarise_folds(folds)
    spread = [(summary["mean"][name], summary["sd"][name]) for name in METRICS]
    overall = ("mean ± sd", "", "", "", *(f"{m:.1f}" + ("" if sd is None else f" ± {sd:.1f}") for m, sd in spread))
    lines = [align_columns([heads, *rows, overall], left=())]
    lines += [f"fold {fold.number} tests no face of: {', '.join(fold.absent)}" for fold in folds if fold.absent]
    lines += ["", "confusion matrix over all folds", format_classes(sum_folds(folds))]
    return "\n".join(lines)


def count_tests(tests_FM: np.ndarray, label_M: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Number of labelled faces tested ``never``, ``once`` and ``more`` than once, by class; zeros are left out.

    Args:
        tests_FM: which faces each fold tests, bool, shape (F, M).
        label_M: class of each face, -1 = unknown and not counted, shape (M,).
        classes: K names in label order.
    """
    times_M = tests_FM.sum(0)
    chosen = {"never": times_M == 0, "once": times_M == 1, "more": times_M > 1}
    return {
        name: {
            word: count for k, word in enumerate(classes) if (count := int(np.count_nonzero(which_M & (label_M == k))))
        }
        for name, which_M in chosen.items()
    }


def format_tests(tested: dict[str, dict[str, int]]) -> str:
    """One line on how many faces are tested once, never, or more than once."""
    parts = []
    for name, words in (("never", "never"), ("more", "more than once")):
        if by_class := tested[name]:
            listed = ", ".join(f"{word} {count}" for word, count in by_class.items())
            parts.append(f"{sum(by_class.values())} {words} ({listed})")
    once = f"{sum(tested['once'].values())} faces are tested once"
    return f"{once}, {', '.join(parts)}" if parts else f"{once}, none never or more than once"


def sum_folds(folds: Sequence[FoldAccuracy]) -> ClassAccuracy:
    """The sum of the folds' confusion matrices; a face tested in two folds counts twice."""
    return ClassAccuracy(folds[0].accuracy.classes, np.sum([fold.accuracy.confusion_KK for fold in folds], axis=0))
