"""Trained runs side by side: computational cost and accuracy of their nets."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.checkpoint import containing_folder
from fecnet.engine.description import CheckpointInfo
from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.modeling.cost import count_macs, count_parameters
from fecnet.runs.run import Run
from fecnet.utils.errors import UserError
from fecnet.utils.table import align_columns

_WARM = 3  # warm-up forward passes


def measure_costs(
    paths: Sequence[str], *, checkpoint: str = "best", batch_size: int = 1, seconds: float = 10.0
) -> list[dict[str, Any]]:
    """Costs and accuracy of the nets of several runs; the first is the reference.

    Times are measured on the CPU with the nets taking turns, so that all run under the same conditions; the speed-up is
    the median ratio of adjacent measurements.

    Args:
        paths: run or checkpoint folders.
        checkpoint: ``best`` or ``last``, for run folders.
        batch_size: faces in a forward pass.
        seconds: duration of all time measurements together; each net runs at least five times.

    Returns:
        For each run: ``run``, ``parameters``, ``macs`` (of one face), ``file_bytes``, ``ms`` (of a forward pass),
        ``times_faster`` and ``percent``: accuracy by split.

    Raises:
        UserError: no checkpoint, or one that cannot be read.
    """
    found: list[dict[str, Any]] = []
    nets: list[nn.Module] = []
    images: list[Tensor] = []
    for path in paths:
        folder, info, cfg, net = open_saved_net(path, checkpoint)
        image_NCHW = torch.rand(batch_size, len(info.preprocessing.channels), cfg.DATA.INPUT_SIZE, cfg.DATA.INPUT_SIZE)
        nets.append(net)
        images.append(image_NCHW)
        found.append(
            {
                "run": str(path),
                "parameters": count_parameters(net),
                "macs": count_macs(net, image_NCHW[:1]),
                "file_bytes": (folder / "model.safetensors").stat().st_size,
                "percent": _percent(folder, info),
            }
        )
    taken = _milliseconds(nets, images, seconds)
    for costs, times in zip(found, taken, strict=True):
        ratios = [before / after for before, after in zip(taken[0], times, strict=True)]
        costs |= {"ms": statistics.median(times), "times_faster": statistics.median(ratios)}
    return found


def format_costs(found: Sequence[dict[str, Any]]) -> str:
    """The table of ``measure_costs``."""
    splits = list(dict.fromkeys(split for costs in found for split in costs["percent"]))
    rows = [("run", "parameters", "MACs", "MB", "ms", "times faster", *splits)]
    for costs in found:
        percent = (f"{costs['percent'][split]:.2f} %" if split in costs["percent"] else "-" for split in splits)
        rows.append(
            (
                costs["run"],
                f"{costs['parameters']:,}",
                f"{costs['macs']:,}",
                f"{costs['file_bytes'] / 1e6:.2f}",
                f"{costs['ms']:.2f}",
                f"{costs['times_faster']:.2f}",
                *percent,
            )
        )
    return align_columns(rows)


def plot_costs(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the trade-off: accuracy over parameters and over multiplications, a point for each run.

    Args:
        found: result of ``measure_costs``; runs without a known accuracy are left out.
        path: PNG to write.

    Raises:
        UserError: matplotlib is absent, or no accuracy is known of any run.
    """
    splits = list(dict.fromkeys(split for costs in found for split in costs["percent"]))
    if not splits:
        raise UserError("--plot: no accuracy is known of these runs; evaluate them first: fecnet evaluate RUN")
    figure, both_axes = new_figure(11, 4.5, ncols=2, sharey=True)
    for axes, (key, name) in zip(both_axes, (("parameters", "parameters"), ("macs", "MACs of a face")), strict=True):
        for split in splits:
            known = sorted((costs[key], costs["percent"][split]) for costs in found if split in costs["percent"])
            axes.plot(*zip(*known, strict=True), marker="o", linestyle=":", label=split)
        for costs in found:
            for percent in list(costs["percent"].values())[-1:]:  # one name for the points of a run
                said = f"{Path(costs['run']).name} ({costs['times_faster']:.1f}×)"
                axes.annotate(said, (costs[key], percent), (4, 4), textcoords="offset points", fontsize=7)
        axes.set(xscale="log", xlabel=name)
    both_axes[0].set(ylabel="accuracy, %", title="after a name: times faster than the first")
    both_axes[0].legend()
    save_figure(figure, path)


@torch.inference_mode()
def _milliseconds(nets: Sequence[nn.Module], images: Sequence[Tensor], seconds: float) -> list[list[float]]:
    """Times of forward passes of each net, ms, measured in rounds in which each net runs once."""
    taken: list[list[float]] = [[] for _ in nets]
    begun = time.perf_counter()
    order = list(range(len(nets)))
    while len(taken[0]) < _WARM + 5 or time.perf_counter() - begun < seconds:
        random.shuffle(order)  # a fixed order could coincide with periodic load on the machine
        for k in order:
            start = time.perf_counter()
            nets[k](images[k])
            taken[k].append(1000 * (time.perf_counter() - start))
    return [times[_WARM:] for times in taken]


def _percent(checkpoint: Path, info: CheckpointInfo) -> dict[str, float]:
    """Accuracy by split, from training and from `fecnet evaluate`; for a joint net that of the classes.

    Results of `fecnet evaluate` are used only for this checkpoint, its views and its data, so that nets are compared
    and not ways of evaluation.
    """
    percent = {}
    for split, figures in info.accuracy.splits.items() if info.accuracy else ():
        percent[split] = figures["accuracy"] if "accuracy" in figures else figures.get("ALL", {}).get("percent")
    wanted = {"iteration": info.iteration, "views": info.settings().EVAL.TTA, "coverage": info.coverage}
    tables = Run(containing_folder(checkpoint)).tables
    for name in ("triplets", "classes"):
        if name in tables and {key: tables[name][key] for key in wanted} == wanted:
            for split, columns in tables[name]["splits"].items():
                percent[split] = columns["fecnet"]["ALL"]["percent"] if name == "triplets" else columns["accuracy"]
    return {split: value for split, value in percent.items() if value is not None}
