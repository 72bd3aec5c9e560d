"""Wall time to 90 % validation triplet accuracy on the demo: fecnet's recipe, and the original one on its loop.

Both train the demo's net on the same faces and stop at the first evaluation that reaches it; the cost of evaluation
is the same for both. The original recipe is that of the published code: JPEG files opened inside the loop, float32,
Adam at 1e-4, batches of 30 triplets, a loss over all (3B)³ combinations. It is stopped after ten times fecnet's time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.demo import ROOT
from benchmarks.loop import FEW
from benchmarks.peers import JpegTriplets, batches, endless, original_loss, write_jpegs
from fecnet.config.node import Frozen, load_config
from fecnet.data.packed import PackedDataset
from fecnet.modeling.build import build_model
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.runs.tasks import build_evaluator, find_task
from fecnet.runs.training import build_trainer
from fecnet.utils import comm
from fecnet.utils.env import choose_device
from fecnet.utils.memory import keep_freed_memory

WANTED = 90.0  # per cent of ALL
PATIENCE = 10  # times our time
PERIOD = 100  # iterations between two evaluations


def run(*, quick: bool) -> dict[str, Any]:
    """Ours first, then the original; a quick run has no goal and takes two iterations of each."""
    wanted, period = (0.0, 2) if quick else (WANTED, PERIOD)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "demo"
        prepare_synthetic(data, **(FEW if quick else {}), progress=False)
        cfg = load_config(ROOT / "config" / "demo.yaml", ["DATA.PATH", str(data)])
        files = write_jpegs(PackedDataset(data), Path(temporary) / "jpeg")
        ours = until(cfg, our_updates, wanted=wanted, period=period)
        patience = PATIENCE * ours["seconds"]
        theirs = until(cfg, lambda cfg: original_updates(cfg, files), wanted=wanted, period=period, patience=patience)
    for name, found in (("ours", ours), ("original", theirs)):
        print(f"{name}: {found['percent']:.1f} % after {found['seconds']:.0f} s, {found['iterations']} iterations")
    return {"wanted_percent": wanted, "ours": ours, "original": theirs, "recipe": "config/demo.yaml"}


def until(
    cfg: Frozen,
    updates: Callable[[Frozen], Iterator[nn.Module]],
    *,
    wanted: float,
    period: int,
    patience: float = float("inf"),
) -> dict[str, Any]:
    """Train until an evaluation reaches ``wanted`` per cent, ``patience`` seconds are over, or the updates end.

    Args:
        cfg: the demo's settings.
        updates: each makes an update and gives the net to be measured.
        wanted: of ALL on the first of ``DATA.EVAL_SPLITS``.
        period: iterations between two evaluations.
        patience: seconds.
    """
    device = choose_device(cfg.DEVICE)
    if device.type == "cpu":
        keep_freed_memory()
    split = cfg.DATA.EVAL_SPLITS[0]
    evaluate = build_evaluator(cfg, PackedDataset(cfg.DATA.PATH), [split], device)
    begun, percent, iteration = time.perf_counter(), 0.0, 0
    for iteration, net in enumerate(updates(cfg), start=1):
        if iteration % period == 0:
            percent = evaluate(net)[split].metrics()["ALL"] or 0.0
            if percent >= wanted or time.perf_counter() - begun > patience:
                break
    seconds = round(time.perf_counter() - begun, 1)
    return {"reached": percent >= wanted, "percent": percent, "seconds": seconds, "iterations": iteration}


def our_updates(cfg: Frozen) -> Iterator[nn.Module]:
    """The demo's recipe, all of it."""
    device = choose_device(cfg.DEVICE)
    comm.start(device, {})
    dataset = PackedDataset(cfg.DATA.PATH)
    torch.manual_seed(cfg.SEED)
    trainer = build_trainer(cfg, dataset, find_task(cfg, dataset), device, None)
    for _ in trainer.updates(1, trainer.length):
        yield trainer.stepper.inference_model


def original_updates(cfg: Frozen, files: JpegTriplets) -> Iterator[nn.Module]:
    """The original recipe, without an end."""
    torch.manual_seed(0)
    device = choose_device(cfg.DEVICE)
    model = build_model(cfg, 3).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, weight_decay=5e-4)
    for image_B3CSS, odd_B in endless(batches(files, 30, workers=None)):
        optimizer.zero_grad()
        original_loss(model(image_B3CSS.flatten(0, 1).to(device))["embedding"], odd_B.to(device)).backward()
        optimizer.step()
        yield model
