"""Learning curves of ``metrics.jsonl`` as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fecnet.run_page.markup import Markup, element
from fecnet.run_page.run_record import RunRecord

Points = list[tuple[float, float]]  # iteration and value
Place = Callable[[float, float], tuple[float, float]]  # maps a point to SVG coordinates

_WIDTH, _HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 30  # margins around the plot
_COLOURS = 8  # colours of the style sheet: .line0 to .line7
_MAX_POINTS = 1500  # maximum points of a line; more could not be distinguished
_RELABELS = ("relabelled", "relabels_refused")
_HARD = ("wrong_triplets", "hard_draws")
_BATCH = "batch_accuracy"
_SPREAD = "spread"
_NOT_TERMS = ("iteration", "lr", _BATCH, _SPREAD, *_RELABELS, *_HARD)


def run_curves(run: RunRecord) -> Markup:
    """All curves of one run: loss and its terms, learning rate, relabels, and the metrics by split."""
    logged = [name for name in _names(run) if "/" not in name and name not in _NOT_TERMS]
    losses = {name: points(run, name) for name in logged}
    same = {name for name, line in losses.items() if name != "loss" and line == losses.get("loss")}
    charts = [line_chart("Loss", {name: line for name, line in losses.items() if name not in same})]
    charts.append(line_chart("Learning rate", {"lr": points(run, "lr")}))
    charts.append(line_chart("Accuracy on training batches, %", {"accuracy": points(run, _BATCH)}))
    charts.append(line_chart("Squared distance between the faces of a triplet", {_SPREAD: points(run, _SPREAD)}))
    relabels = {name.replace("_", " "): points(run, name) for name in _RELABELS}
    charts.append(line_chart("Faces relabelled after an epoch", relabels))
    hard = {name.replace("_", " "): points(run, name) for name in _HARD}
    charts.append(line_chart("Training triplets that the net gets wrong, and draws among them, %", hard))
    for split in dict.fromkeys(name.split("/")[0] for name in _names(run) if "/" in name):
        metrics = [name for name in _names(run) if name.startswith(f"{split}/")]
        lines = {metric_name(name): points(run, name) for name in metrics}
        charts.append(line_chart(f"Metrics on {split}, %", lines))
    shown = [chart for chart in charts if chart]
    return element("div", shown or [element("p", "No metrics were logged.", class_="absent")], class_="charts")


def compared_curves(runs: Sequence[RunRecord], names: Sequence[str]) -> Markup:
    """Overlaid curves of several runs: loss, learning rate, and every metric that at least two of them logged.

    Args:
        runs: the runs.
        names: of the runs.
    """
    shared = [name for name in dict.fromkeys(name for run in runs for name in _names(run)) if "/" in name]
    shared = [name for name in shared if sum(name in _names(run) for run in runs) > 1]
    titles = {"loss": "Loss", "lr": "Learning rate"}
    titles |= {name: f"{name.split('/')[0]}: {metric_name(name)}, %" for name in shared}
    charts = [
        line_chart(title, {name: points(run, key) for name, run in zip(names, runs, strict=True)})
        for key, title in titles.items()
    ]
    return element("div", [chart for chart in charts if chart], class_="charts")


def points(run: RunRecord, name: str) -> Points:
    """The values of ``name`` by iteration; absent and non-finite values are left out."""
    found = [(line["iteration"], line[name]) for line in run.metrics if isinstance(line.get(name), (int, float))]
    return [(float(iteration), float(value)) for iteration, value in found if math.isfinite(value)]


def metric_name(name: str) -> str:
    """The metric of ``val/mean_class_accuracy`` in words."""
    return name.split("/")[-1].replace("_", " ").replace("f1", "F1").replace("ccc", "CCC")


def reliability_chart(calibration: Mapping[str, Any]) -> Markup | None:
    """Reliability diagram: accuracy over confidence (arXiv:1706.04599); None without a face.

    Args:
        calibration: of one split of ``classes.json``.
    """
    line = [(100 * of["confidence"], 100 * of["accuracy"]) for of in calibration["bins"] if of["count"]]
    title = f"Calibration: accuracy over confidence, %; ECE {tick(calibration['ece'])}" if line else ""
    lines = {"accuracy": line, "perfect calibration": [(0.0, 0.0), (100.0, 100.0)]} if line else {}
    return line_chart(title, lines, by="confidence")


def line_chart(title: str, lines: Mapping[str, Points], by: str = "iteration") -> Markup | None:
    """A chart with a legend; None where no line has a point.

    Args:
        title: title of the chart.
        lines: points by the name of their line.
        by: label of the horizontal axis, which starts at 0.
    """
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return None
    x_ticks = nice_ticks(0, max(x for line in lines.values() for x, _ in line))
    values = [y for line in lines.values() for _, y in line]
    y_ticks = nice_ticks(min(values), max(values))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    shapes = _grid(place, x_ticks, y_ticks)
    shapes += [_line([place(*point) for point in _thinned(line)], number) for number, line in enumerate(lines.values())]
    svg = element("svg", shapes, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"{title}, by {by}")
    return element("figure", element("figcaption", title), svg, _legend(lines), class_="chart")


def nice_ticks(least: float, most: float, about: int = 5) -> list[float]:
    """Round numbers 1, 2 or 5 · 10ⁿ apart, the first at or below ``least``, the last at or above ``most``."""
    if most <= least:
        least, most = least - (abs(least) / 2 or 0.5), most + (abs(most) / 2 or 0.5)
    rough = (most - least) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _names(run: RunRecord) -> list[str]:
    return list(dict.fromkeys(name for line in run.metrics for name in line))


def _thinned(line: Points) -> Points:
    """At most ``_MAX_POINTS`` evenly spaced points, including the last."""
    step = -(-len(line) // _MAX_POINTS)
    return line[::-1][::step][::-1]


def _grid(place: Place, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[Markup]:
    grid = []
    for y in y_ticks:
        left, top = place(x_ticks[0], y)
        right, _ = place(x_ticks[-1], y)
        grid.append(element("line", x1=_LEFT, x2=f"{right:.1f}", y1=f"{top:.1f}", y2=f"{top:.1f}", class_="grid"))
        grid.append(element("text", tick(y), x=left - 6, y=f"{top + 4:.1f}", text_anchor="end"))
    for x in x_ticks:
        left, bottom = place(x, y_ticks[0])
        anchor = "end" if x == x_ticks[-1] else "middle"
        grid.append(element("text", tick(x), x=f"{left:.1f}", y=f"{bottom + 17:.1f}", text_anchor=anchor))
    return grid


def _line(placed: Points, number: int) -> Markup:
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dots = placed if len(placed) <= 12 else placed[-1:]
    marks = [element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.5) for x, y in dots]
    return element("g", element("polyline", points=text), marks, class_=f"line{number % _COLOURS}")


def _legend(lines: Mapping[str, Points]) -> Markup:
    items = [
        element("li", element("i", class_=f"key{number % _COLOURS}"), f"{name} ", element("b", tick(line[-1][1])))
        for number, (name, line) in enumerate(lines.items())
    ]
    return element("ul", items, class_="legend")


def tick(value: float) -> str:
    """A number short enough for an axis."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
