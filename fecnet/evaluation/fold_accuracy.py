"""What several folds say together: mean and spread of their figures, and the sum of their confusion matrices.

Shape suffixes: F folds, M labelled faces, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fecnet.evaluation.classification import FIGURES, ClassAccuracy, format_classes
from fecnet.utils.table import align_columns


@dataclass(frozen=True, eq=False)
class FoldAccuracy:
    """One fold, measured.

    Attributes:
        number: of the fold, from 1.
        accuracy: on the faces that it tests.
        learnt: how many faces the net learnt from.
        seen_subjects: how many of the tested faces are of people it learnt from, or None where people are unknown.
    """

    number: int
    accuracy: ClassAccuracy
    learnt: int
    seen_subjects: int | None = None

    @property
    def absent(self) -> list[str]:
        """Classes of which the fold tests no face."""
        return [name for name, total in zip(self.accuracy.classes, self.accuracy.total_K, strict=True) if not total]


def summarise_folds(folds: Sequence[FoldAccuracy]) -> dict[str, Any]:
    """For JSON: each fold, ``mean`` and ``sd`` of the figures over the folds, and ``together`` of the summed matrix.

    ``sd`` is that of a sample (n − 1), None for one fold. Folds share most of what they learn from, so it is the spread
    of the folds and no error of the mean.
    """
    figures_FX = np.array([[fold.accuracy.figures()[name] for name in FIGURES] for fold in folds], np.float64)
    sd_X = figures_FX.std(0, ddof=1) if len(folds) > 1 else [None] * len(FIGURES)
    return {
        "folds": [
            {
                "fold": fold.number,
                "learnt": fold.learnt,
                "seen_subjects": fold.seen_subjects,
                "classes_not_tested": fold.absent,
                **fold.accuracy.to_dict(),
            }
            for fold in folds
        ],
        "mean": {name: round(float(value), 4) for name, value in zip(FIGURES, figures_FX.mean(0), strict=True)},
        "sd": {name: None if sd is None else round(float(sd), 4) for name, sd in zip(FIGURES, sd_X, strict=True)},
        "together": sum_folds(folds).to_dict(),
    }


def format_folds(folds: Sequence[FoldAccuracy]) -> str:
    """A line per fold, mean ± sd, and the table of classes of all folds together."""
    heads = ("fold", "learnt", "tested", "seen subjects", *(name.replace("_", " ") for name in FIGURES))
    rows = [
        (
            str(fold.number),
            str(fold.learnt),
            str(int(fold.accuracy.total_K.sum())),
            "-" if fold.seen_subjects is None else str(fold.seen_subjects),
            *(f"{fold.accuracy.figures()[name]:.1f}" for name in FIGURES),
        )
        for fold in folds
    ]
    summary = summarise_folds(folds)
    spread = [(summary["mean"][name], summary["sd"][name]) for name in FIGURES]
    together = ("mean ± sd", "", "", "", *(f"{m:.1f}" + ("" if sd is None else f" ± {sd:.1f}") for m, sd in spread))
    lines = [align_columns([heads, *rows, together], left=())]
    lines += [f"fold {fold.number} tests no face of: {', '.join(fold.absent)}" for fold in folds if fold.absent]
    lines += ["", "the faces of these folds, in one confusion matrix", format_classes(sum_folds(folds))]
    return "\n".join(lines)


def count_tests(tests_FM: np.ndarray, label_M: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many labelled faces are tested ``never``, ``once`` and ``more`` often, by class; zeros are left out.

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
    """One line on faces that are tested never, or more than once."""
    parts = []
    for name, words in (("never", "never"), ("more", "more than once")):
        if by_class := tested[name]:
            listed = ", ".join(f"{word} {count}" for word, count in by_class.items())
            parts.append(f"{sum(by_class.values())} {words} ({listed})")
    once = f"{sum(tested['once'].values())} faces are tested once"
    return f"{once}, {', '.join(parts)}" if parts else f"{once}, none never or more than once"


def sum_folds(folds: Sequence[FoldAccuracy]) -> ClassAccuracy:
    """The faces of all folds in one confusion matrix; a face that two folds test counts twice."""
    return ClassAccuracy(folds[0].accuracy.classes, np.sum([fold.accuracy.confusion_KK for fold in folds], axis=0))
