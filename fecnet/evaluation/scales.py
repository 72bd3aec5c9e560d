"""Batch-norm scales under sparsity training: metrics, histogram and plot. S scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fecnet.evaluation.drawing import new_figure, save_figure

SCALE_EDGES = np.linspace(0, 1.5, 61)  # histogram bin edges; larger scales count in the last bin
_SMALL = 0.01  # a smaller scale is practically zero


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


def plot_scales(
    scale_S: Tensor, path: Path, *, threshold: float | None = None, history: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the histogram of |γ|, and beside it its evolution during training where ``history`` has it.

    Args:
        scale_S: |γ|, float, shape (S,).
        path: the image file.
        threshold: shown as a line; None = none.
        history: lines of ``metrics.jsonl``; those with a histogram are plotted.

    Raises:
        UserError: matplotlib is not installed.
    """
    past = [line for line in history if "scales/histogram" in line]
    past = past if len(past) > 1 else []  # a single one is the histogram itself
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
