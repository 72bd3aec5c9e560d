"""Evaluation of the demo's test triplets: each face passes through the net once, relative to the bare net."""

from __future__ import annotations

import operator
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.demo import ROOT
from benchmarks.loop import FEW
from benchmarks.record import seconds, spread
from fecnet.config.node import Frozen, load_config
from fecnet.data.packed import PackedDataset
from fecnet.engine.predict import predict_batch
from fecnet.modeling.build import build_model
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.runs.tasks import build_evaluator
from fecnet.utils.env import choose_device
from fecnet.utils.memory import keep_freed_memory

REQUIRED_RATIO = 0.95  # least share of the bare net's rate


def run(*, quick: bool) -> dict[str, Any]:
    """Faces/s of the evaluator and of the bare net on batches that are in memory, in turn; triplets/s."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "demo"
        prepare_synthetic(data, **(FEW if quick else {}), progress=False)
        return measure(load_config(ROOT / "config" / "demo.yaml", ["DATA.PATH", str(data)]), rounds=1 if quick else 41)


def measure(cfg: Frozen, *, rounds: int) -> dict[str, Any]:
    """Several rounds on the splits that are measured in training and reported after it, together."""
    device = choose_device(cfg.DEVICE)
    if device.type == "cpu":
        keep_freed_memory()
    dataset = PackedDataset(cfg.DATA.PATH)
    splits = [*cfg.DATA.EVAL_SPLITS, *cfg.DATA.REPORT_SPLITS]
    evaluator = build_evaluator(cfg, dataset, splits, device)
    model = build_model(cfg, len(dataset.channels)).to(device).eval()
    seen: list[int] = []
    hook = model.register_forward_hook(lambda net, given, out: seen.append(len(given[0])))
    evaluator(model)
    hook.remove()
    triplets = sum(len(dataset.triplets(split)) for split in splits)
    stored = [dataset.faces_NHWC[evaluator.rows[part]] for part in _parts(len(evaluator.rows), cfg.EVAL.BATCH_SIZE)]
    bare(model, evaluator.views, stored, device)
    bare_s, ours_s = [], []
    for _ in range(rounds):
        bare_s.append(seconds(lambda: bare(model, evaluator.views, stored, device)))
        ours_s.append(seconds(lambda: evaluator(model)))
    ratio = spread(list(map(operator.truediv, bare_s, ours_s)))
    unique, ours = len(evaluator.rows), statistics.median(ours_s)
    print(f"{sum(seen)} forward passes for {unique} faces in {triplets} triplets")
    print(f"{unique / ours:,.0f} faces/s, {triplets / ours:,.0f} triplets/s; {ratio['median']:.3f} of the bare net")
    return {
        "triplets": triplets,
        "faces": unique,
        "forward_passes": sum(seen),
        "faces_per_s": round(unique / ours),
        "triplets_per_s": round(triplets / ours),
        "ratio_to_bare_net": ratio,
        "required_ratio": REQUIRED_RATIO,
    }


def bare(model: nn.Module, views: Any, stored: list[np.ndarray], device: torch.device) -> None:
    """The net alone, on batches that were gathered before."""
    for faces_NHWC in stored:
        predict_batch(model, faces_NHWC, views=views, device=device)


def _parts(number: int, size: int) -> list[slice]:
    return [slice(first, first + size) for first in range(0, number, size)]
