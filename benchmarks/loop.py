"""The training loop against the bare step: same net, data already on the device, no augmentation, no logging."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import spread
from fecnet.config.node import Frozen, load_config
from fecnet.data.build import build_augment, build_loader
from fecnet.data.packed import PackedDataset
from fecnet.engine.stepper import Augment, Stepper
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import build_criterion
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.solver.build import build_optimizer
from fecnet.structures import Batch
from fecnet.training import train_run
from fecnet.utils.env import choose_device, choose_precision

RECIPE = Path(__file__).parents[1] / "config" / "demo.yaml"
WARM = 3  # first iterations, not counted


def bare_step_seconds(cfg: Frozen, iterations: int) -> float:
    """Median seconds of an iteration: forward, criterion, backward and update on one batch that never changes."""
    device = choose_device(cfg.DEVICE)
    dataset = PackedDataset(cfg.DATA.PATH)
    model = build_model(cfg, len(dataset.channels)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion, optimizer = build_criterion(cfg).to(device), build_optimizer(cfg, model)
    precision = choose_precision(cfg.SOLVER.PRECISION, device)
    net = torch.compile(model) if cfg.SOLVER.COMPILE else model
    batch = build_loader(cfg, dataset, rank=0, world_size=1, pin=False).gather(1)[0].to(device)
    batch = build_augment(cfg, dataset.channels)(batch, 1)
    begun = []
    for _ in range(iterations + WARM + 1):
        begun.append(_now(device))
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            out = net(batch.image_NCHW)
        (criterion(out, batch)["triplet"] / cfg.SOLVER.BATCH_SIZE).backward()
        optimizer.step()
    return statistics.median(after - before for before, after in pairwise(begun[WARM:]))


def iteration_seconds(cfg: Frozen, folder: Path, iterations: int, *, save_period: int = 0) -> list[float]:
    """Seconds of each iteration of the training loop, all of it: data, augmentation, logging, checkpoints.

    Taken between the beginnings of two iterations from the first one on; start-up and the evaluation at the end do
    not count.
    """
    begun: list[float] = []
    step = Stepper.step

    def noted(self: Stepper, batches: Sequence[Batch], augment: Augment, iteration: int) -> None:
        begun.append(time.perf_counter())
        step(self, batches, augment, iteration)

    options = ["OUTPUT_DIR", str(folder), "SOLVER.LENGTH", str(iterations + 1), "EVAL.PERIOD", "0"]
    options += ["CHECKPOINT.PERIOD", str(save_period), "LOG.TENSORBOARD", "false"]
    Stepper.step = noted  # type: ignore[method-assign]
    try:
        train_run(load_config(None, options, base=cfg), recipe="loop")
    finally:
        Stepper.step = step  # type: ignore[method-assign]
    return [after - before for before, after in pairwise(begun)]


def loop_seconds(cfg: Frozen, folder: Path, iterations: int) -> float:
    """Median seconds per iteration of the training loop: the machine's bursts of other work do not count."""
    return statistics.median(iteration_seconds(cfg, folder, iterations + WARM)[WARM:])


def small_demo(folder: Path) -> Frozen:
    """A small synthetic data set in ``folder`` and the demo's settings on it."""
    prepare_synthetic(folder / "demo", num_train_identities=100, num_train_triplets=2000, progress=False)
    return load_config(RECIPE, ["DATA.PATH", str(folder / "demo")])


def run(*, quick: bool) -> dict[str, Any]:
    """Loop over bare step in images/s, pair by pair."""
    iterations, pairs = (3, 1) if quick else (60, 15)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cfg = small_demo(folder)
        images = 3 * cfg.SOLVER.BATCH_SIZE
        loop, bare = [], []
        bare_step_seconds(cfg, iterations)  # the first seconds of a process are slow, whatever runs in them
        for _ in range(pairs):
            loop.append(images / loop_seconds(cfg, folder / "result", iterations))
            bare.append(images / bare_step_seconds(cfg, iterations))
    ratio = spread([slow / fast for slow, fast in zip(loop, bare, strict=True)])
    print(f"bare step {spread(bare)['median']:.0f} images/s, loop {spread(loop)['median']:.0f} images/s")
    print(f"loop over bare: {ratio['median']:.3f} ({ratio['min']:.3f}–{ratio['max']:.3f})")
    return {
        "bare_images_per_s": spread(bare),
        "loop_images_per_s": spread(loop),
        "loop_over_bare": ratio,
        "recipe": "config/demo.yaml",
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
