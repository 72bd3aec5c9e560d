"""Plots of evaluation results; they need matplotlib, an optional dependency.

Shape suffixes: K classes, B bins.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fecnet.evaluation.calibration import Calibration
from fecnet.evaluation.classification import ClassAccuracy, format_metrics
from fecnet.evaluation.drawing import new_figure, save_figure

_INCHES_PER_CLASS = 0.78


def confusion_plot(accuracy: ClassAccuracy, title: str, path: Path) -> None:
    """Write the confusion matrix: each cell has the number of faces and their share of the label's faces in %.

    Args:
        accuracy: counts by label (row) and predicted class (column).
        title: title of the plot.
        path: PNG to write.
    """
    num = len(accuracy.classes)
    share_KK = accuracy.confusion_percent()
    side = max(4.0, num * _INCHES_PER_CLASS)
    figure, axes = new_figure(side + 1.6, side + 1.4)
    axes.imshow(np.nan_to_num(share_KK), cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(num, num):
        share = share_KK[row, column]
        text = f"{accuracy.confusion_KK[row, column]}" + ("" if np.isnan(share) else f"\n{share:.1f} %")
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 50 else "black")
    names = [f"{name} ({total})" for name, total in zip(accuracy.classes, accuracy.total_K, strict=True)]
    axes.set_xticks(range(num), accuracy.classes, rotation=40, ha="right")
    axes.set_yticks(range(num), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("label (faces)")
    axes.set_title(f"{title}\n{format_metrics(accuracy)}", fontsize=10)
    save_figure(figure, path)


def reliability_plot(
    found: Calibration,
    title: str,
    path: Path,
    *,
    item: str = "face",
    accuracy: str = "accuracy",
    confidence: str = "probability of the predicted class",
) -> None:
    """Write the reliability diagram: accuracy by confidence, and the number of items in each bin (arXiv:1706.04599).

    Args:
        found: the bins.
        title: title of the plot.
        path: PNG to write.
        item: name of an item.
        accuracy: name of the vertical axis, which confidence is compared with.
        confidence: name of the horizontal axis.
    """
    num, there_B = len(found.count_B), found.count_B > 0
    middle_B = (np.arange(num) + 0.5) / num
    figure, (above, below) = new_figure(5.4, 6.4, sharex=True, gridspec_kw={"height_ratios": [3, 1]}, nrows=2)
    above.bar(middle_B[there_B], found.accuracy_B[there_B], 0.94 / num, color="#4c78a8", label=f"{accuracy} of the bin")
    above.plot(
        found.confidence_B[there_B], found.accuracy_B[there_B], "o", color="#222222", ms=4, label="mean confidence"
    )
    above.plot([0, 1], [0, 1], "--", color="#888888", lw=1, label="perfect calibration")
    above.set_xlim(0, 1)
    above.set_ylim(0, 1.02)
    above.set_ylabel(accuracy)
    above.legend(loc="upper left", fontsize=8)
    above.set_title("\n".join([title, *found.text(item, accuracy).split("; ")]), fontsize=10)
    below.bar(middle_B, found.count_B, 0.94 / num, color="#b0b0b0")
    below.set_ylabel(f"{item}s")
    below.set_xlabel(f"confidence: {confidence}")
    save_figure(figure, path)
