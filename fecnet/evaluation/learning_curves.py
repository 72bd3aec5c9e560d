"""Learning curves of several settings with their spread over runs, as one figure.

Shape suffixes: P points of a curve, R runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.evaluation.drawing import new_figure, save_figure

# Okabe and Ito's colour-blind-safe palette, without its yellow, which is too pale for lines
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":")  # further settings reuse the colours with another dash
_LABEL_GAP = 0.062  # minimum distance of two labels, as a fraction of the panel's height
_MAX_PERCENT = 101.0  # mean + sd may exceed 100
_MIN_RATE = 1e-5  # lowest learning rate shown, as a fraction of the highest: a cosine ends at 0


@dataclass(frozen=True, eq=False)
class Band:
    """Mean curve and spread of one setting.

    Attributes:
        place_P: iterations or epochs, shape (P,).
        mean_P: mean over the runs, shape (P,).
        low_P: mean − standard deviation over the runs (n − 1), shape (P,); the mean for a single run.
        high_P: mean + standard deviation, shape (P,).
    """

    place_P: np.ndarray
    mean_P: np.ndarray
    low_P: np.ndarray
    high_P: np.ndarray


@dataclass(frozen=True)
class Panel:
    """One panel of the figure.

    Attributes:
        title: quantity and unit.
        bands: by setting; a setting without a curve keeps its colour in other panels.
        logarithmic: logarithmic axis, as for a learning rate.
        percent: the axis ends at 100.
        missing: text shown where no setting has a curve.
    """

    title: str
    bands: Mapping[str, Band]
    logarithmic: bool = False
    percent: bool = False
    missing: str = ""


def make_band(
    place_P: Sequence[float], value_PR: Sequence[Sequence[float]], *, points: int = 0, logarithmic: bool = False
) -> Band | None:
    """Mean and spread over runs; None without a point.

    Args:
        place_P: iterations or epochs of the values, increasing.
        value_PR: value of each run at each place.
        points: maximum number of points; more are averaged within this many bins of each run first; 0 = no limit.
        logarithmic: compute mean and deviation of the logarithms, so that mean − sd stays positive.
    """
    if not len(place_P):
        return None
    place, value = np.asarray(place_P, float), np.asarray(value_PR, float)
    if points and len(place) > points:
        stretches = np.array_split(np.arange(len(place)), points)
        place = np.array([place[part].mean() for part in stretches])
        value = np.array([value[part].mean(0) for part in stretches])
    if logarithmic:
        value = np.log(np.maximum(value, np.finfo(float).tiny))
    mean_P = value.mean(1)
    sd_P = value.std(1, ddof=1) if value.shape[1] > 1 else np.zeros(len(place))
    lines = mean_P, mean_P - sd_P, mean_P + sd_P
    return Band(place, *(np.exp(line) if logarithmic else line for line in lines))


def plot_curves(panels: Sequence[Panel], settings: Sequence[str], path: Path, *, title: str, unit: str) -> None:
    """Write the panels as PNG, two per row.

    Args:
        panels: panels of the figure.
        settings: names of the settings in the order of their colours.
        path: the file to write.
        title: title of the figure.
        unit: unit of the horizontal axis.

    Raises:
        UserError: matplotlib is not installed.
    """
    rows = -(-len(panels) // 2)
    figure, axes_RC = new_figure(13, 4.2 * rows + 0.6, nrows=rows, ncols=2, squeeze=False)
    figure.suptitle(title, fontsize=11)
    figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
    for axes, panel in zip(axes_RC.flat, panels, strict=False):
        _draw(axes, panel, settings, unit)
    save_figure(figure, path)


def _draw(axes: Any, panel: Panel, settings: Sequence[str], unit: str) -> None:
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    if not panel.bands:
        axes.text(0.5, 0.5, panel.missing, ha="center", va="center", transform=axes.transAxes, wrap=True, color="0.4")
        axes.set(xticks=[], yticks=[])
        return
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    if panel.logarithmic:
        top = max(band.mean_P.max() for band in panel.bands.values())
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(top * _MIN_RATE, top * 2)
    for name, band in panel.bands.items():
        colour, dashes = _style(settings.index(name))
        axes.plot(band.place_P, band.mean_P, color=colour, linestyle=dashes, linewidth=1.7)
        axes.fill_between(band.place_P, band.low_P, band.high_P, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlim(left=0)
    if panel.percent and axes.get_ylim()[1] > _MAX_PERCENT:
        axes.set_ylim(top=_MAX_PERCENT)
    _label(axes, panel.bands, settings)


def _style(number: int) -> tuple[str, str]:
    return _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]


def _label(axes: Any, bands: Mapping[str, Band], settings: Sequence[str]) -> None:
    """Label each line at its end, without overlapping labels."""
    axes.autoscale_view()
    to_fraction = axes.transData + axes.transAxes.inverted()
    ends = {name: to_fraction.transform((band.place_P[-1], band.mean_P[-1])) for name, band in bands.items()}
    names = sorted(ends, key=lambda name: float(ends[name][1]))
    heights = spread_apart([float(np.clip(ends[name][1], 0, 1)) for name in names], _LABEL_GAP)
    for name, height in zip(names, heights, strict=True):
        end = (ends[name][0], float(np.clip(ends[name][1], 0, 1)))
        colour, _ = _style(settings.index(name))
        axes.annotate(
            name,
            xy=end,
            xytext=(1.03, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 1},
        )


def spread_apart(height: Sequence[float], gap: float) -> list[float]:
    """Move increasing heights as little as possible to keep ``gap`` between neighbours and all of them within 0..1.

    Neighbours that are too close become a group centred on their mean; groups that then overlap are merged.
    """
    groups = [(value, 1) for value in height]  # centre and number of labels
    place = 0
    while place < len(groups) - 1:
        (low, num_low), (high, num_high) = groups[place], groups[place + 1]
        if high - low >= gap * (num_low + num_high) / 2:
            place += 1
            continue
        num = num_low + num_high
        half = gap * (num - 1) / 2
        centre = min(max((low * num_low + high * num_high) / num, half), max(half, 1 - half))
        groups[place : place + 2] = [(centre, num)]
        place = max(0, place - 1)
    return [centre + gap * (k - (num - 1) / 2) for centre, num in groups for k in range(num)]
