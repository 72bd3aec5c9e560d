"""Exported nets compared with the original: differences, agreement, loss of accuracy, throughput on the CPU.

Throughput is of forward passes alone, measured alternately, so that all nets meet the same state of the machine; ratios
are medians over rounds. ``load`` is the number of processes competing for the CPU before the measurement.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.demo import ROOT, run_commands
from benchmarks.record import seconds
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.export.export import FORMATS, Exported, export_run
from fecnet.prepare.synthetic import prepare_synthetic

RUNS = {  # run: how it is made; those that are there are measured
    "result/ferplus_joint": "python train.py config/ferplus_joint.yaml",
    "result/fer2013_cpu": "python train.py config/fer2013_cpu.yaml",
}
CASES = {"bundle": ("bundle", False), "onnx": ("onnx", False), "onnx raw": ("onnx", True)}
CASES |= {"torch": ("torch", False), "int8": ("int8", False), "int8 raw": ("int8", True)}
# the difference is that of the embedding, or of the logits where there is none
FIGURES = ("largest_difference", "triplets_alike", "classes_alike", "triplets_points_lost", "classes_points_lost", "mb")
BATCH, ROUNDS = 64, 40
REQUIRED = {"difference": 1e-5, "percent_alike": 99.9, "int8_times_onnx": 1.5, "int8_points_lost": 1.0}


def run(*, quick: bool) -> dict[str, Any]:
    """Every format of each run; a quick run takes the demo's net after two iterations on a few drawn faces."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if quick:
            runs, cases, rounds = [_quick_run(folder)], dict(list(CASES.items())[1:]), 2
        else:
            runs, cases, rounds = [ROOT / path for path in RUNS if (ROOT / path).is_dir()], CASES, ROUNDS
            if not runs:
                raise SystemExit("; ".join(f"{path} is absent: {command}" for path, command in RUNS.items()))
        nets = {path.name: _measure(path, folder, cases, rounds) for path in runs}
    return {"load": round(load, 1), "batch": BATCH, "rounds": rounds, "required": REQUIRED, **nets}


def _quick_run(folder: Path) -> Path:
    people = {f"num_{split}_identities": 12 for split in ("train", "val", "test")}
    triplets = {f"num_{split}_triplets": 90 for split in ("train", "val", "test")}
    prepare_synthetic(folder / "drawn", **people, **triplets, progress=False)  # type: ignore[arg-type]
    where = ["OUTPUT_DIR", str(folder / "result"), "NAME", "demo", "DATA.PATH", str(folder / "drawn")]
    run_commands([["train.py", "config/demo.yaml", *where, "SOLVER.LENGTH", "2"]])
    return folder / "result" / "demo"


def _measure(run: Path, folder: Path, cases: dict[str, tuple[str, bool]], rounds: int) -> dict[str, Any]:
    """A row per format, and the net itself."""
    print(f"-- {run.name}")
    net = load_encoder(run, device="cpu")
    passes = {"net": _forward(net)}
    rows: dict[str, dict[str, Any]] = {"net": dict.fromkeys(FIGURES)}
    for name, (kind, raw) in cases.items():
        output = folder / f"{run.name}-{name.replace(' ', '-')}{FORMATS[kind].ending}"
        exported = export_run(str(run), kind, output=str(output), raw=raw, progress=False)
        rows[name], passes[name] = _row(exported), _forward(FORMATS[kind].open(exported.path))
    taken = _rates(passes, rounds)
    for name, row in rows.items():
        row["faces_per_s"] = round(BATCH / statistics.median(taken[name]))
        for other in ("net", "onnx"):
            pairs = zip(taken[other], taken[name], strict=True)
            row[f"times_{other}"] = statistics.median(theirs / ours for theirs, ours in pairs)
    print("\n".join(f"{name}: {row}" for name, row in rows.items()))
    return rows


def _row(exported: Exported) -> dict[str, Any]:
    """How the file and the net agree on real faces, and the size of the file."""
    found = exported.agreement
    lost = {name: before - after for name, (before, after) in found.percent.items()}
    alike = {name: each.percent for name, each in found.same.items()}
    difference = found.differences.get("embedding", found.differences.get("logits"))
    values = (difference, alike.get("triplets"), alike.get("classes"), lost.get("triplets ALL"), lost.get("accuracy"))
    return dict(zip(FIGURES, (*values, exported.megabytes), strict=True))


def _forward(encoder: Encoder) -> Callable[[], object]:
    """One forward pass of a batch of noise, without what makes faces of pictures."""
    faces_NHWC = np.random.default_rng(0).integers(0, 256, (BATCH, *encoder.face_shape), np.uint8)
    image = encoder.net.views[0](torch.from_numpy(faces_NHWC).permute(0, 3, 1, 2))

    def forward() -> object:
        with torch.inference_mode():
            return encoder.net.model(image)

    return forward


def _rates(passes: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of a pass of each, in rounds in which each has its turn."""
    taken: dict[str, list[float]] = {name: [] for name in passes}
    order = list(passes)
    for forward in passes.values():
        forward()
    for _ in range(rounds):
        random.shuffle(order)  # a fixed one can keep step with what else the machine does
        for name in order:
            taken[name].append(seconds(passes[name]))
    return taken
