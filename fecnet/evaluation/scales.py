"""Batch-norm scales under sparsity training: metrics, histogram and plot. S scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.utils.errors import UserError
from fecnet.utils.metrics import read_metrics
from fecnet.utils.shown import shown

SCALE_EDGES = np.linspace(0, 1.5, 61)  # histogram bin edges; larger scales count in the last bin
_SMALL = 0.01  # smaller scales count as near zero


def scale_metrics(scale_S: Tensor) -> dict[str, Any]:
    """Mean, share of near-zero scales, and histogram over ``SCALE_EDGES``, by their names in ``metrics.jsonl``.

    Args:
        scale_S: |γ|, float, shape (S,).
    """
    values_S = scale_S.double().cpu().numpy()
    counts, _ = np.histogram(np.minimum(values_S, SCALE_EDGES[-1]), SCALE_EDGES)
    return {
        "scales/mean": round(float(values_S.mean()), 6),
        f"scales/below_{_SMALL:g}": round(float((values_S < _SMALL).mean()), 6),
        "scales/histogram": counts.tolist(),
    }


def scale_history(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` that have a histogram over ``SCALE_EDGES``.

    Raises:
        UserError: the file is damaged, or a histogram is invalid.
    """
    history = [line for line in read_metrics(path) if "scales/histogram" in line]
    for line in history:
        found = line["scales/histogram"]
        bins = len(SCALE_EDGES) - 1
        if not (isinstance(found, list) and len(found) == bins and all(map(_is_count, found))):
            raise UserError(
                f"{path}: 'scales/histogram' at iteration {line['iteration']} is {shown(found)}; "
                f"allowed: {bins} counts of channels"
            )
    return history


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def plot_scales(
    scale_S: Tensor, path: Path, *, threshold: float | None = None, history: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the histogram of |γ|, next to its evolution during training where ``history`` has several.

    Args:
        scale_S: |γ|, float, shape (S,).
        path: the image file.
        threshold: shown as a line; None = none.
        history: see ``scale_history``.

    Raises:
        UserError: matplotlib is not installed.
    """
    past = history if len(history) > 1 else []  # a single one is the histogram itself
    figure, axes_12 = new_figure(10 if past else 5, 4, ncols=2 if past else 1, squeeze=False)
    axes = axes_12[0]
    axes[0].hist(np.minimum(scale_S.cpu().numpy(), SCALE_EDGES[-1]), SCALE_EDGES)
    if threshold is not None:
        axes[0].axvline(threshold, color="C3", label=f"threshold {threshold:.3g}")
        axes[0].legend()
    axes[0].set(xlabel="scale |γ|", ylabel="channels", yscale="symlog", title=f"{len(scale_S)} scales")
    if past:
        counts = np.array([line["scales/histogram"] for line in past]).T
        iterations = [line["iteration"] for line in past]
        axes[1].pcolormesh(iterations, (SCALE_EDGES[:-1] + SCALE_EDGES[1:]) / 2, np.log1p(counts), shading="nearest")
        axes[1].set(xlabel="iteration", ylabel="scale |γ|", title="during training, darker is fewer")
    save_figure(figure, path)
