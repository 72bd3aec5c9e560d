"""The training loop against the bare step: same net, data already on the device, no augmentation, no logging."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import spread
from fecnet.config.node import Frozen, load_config
from fecnet.data.build import build_augment, build_loader
from fecnet.data.packed import PackedDataset
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import build_criterion
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.solver.build import build_optimizer
from fecnet.training import train_run
from fecnet.utils.env import choose_device, choose_precision

RECIPE = Path(__file__).parents[1] / "config" / "demo.yaml"


def bare_step_seconds(cfg: Frozen, iterations: int) -> float:
    """Seconds per iteration of forward, criterion, backward and update on one batch that never changes."""
    device = choose_device(cfg.DEVICE)
    dataset = PackedDataset(cfg.DATA.PATH)
    model = build_model(cfg, len(dataset.channels)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion, optimizer = build_criterion(cfg).to(device), build_optimizer(cfg, model)
    precision = choose_precision(cfg.SOLVER.PRECISION, device)
    net = torch.compile(model) if cfg.SOLVER.COMPILE else model
    batch = build_loader(cfg, dataset, rank=0, world_size=1, pin=False).gather(1)[0].to(device)
    batch = build_augment(cfg, dataset.channels)(batch, 1)
    started = 0.0
    for iteration in range(iterations + 3):
        if iteration == 3:  # the first ones warm up
            started = _now(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            out = net(batch.image_NCHW)
        (criterion(out, batch)["triplet"] / cfg.SOLVER.BATCH_SIZE).backward()
        optimizer.step()
    return (_now(device) - started) / iterations


def loop_seconds(cfg: Frozen, iterations: int, folder: Path) -> float:
    """Seconds per iteration of a whole run: the difference of a long and a short one, so start-up cancels."""

    def run(length: int) -> float:
        name = f"{length}-{time.monotonic_ns()}"
        options = ["SOLVER.LENGTH", str(length), "OUTPUT_DIR", str(folder), "NAME", name, "DATA.EVAL_SPLITS", "[tiny]"]
        started = time.perf_counter()
        train_run(load_config(None, options, base=cfg), recipe="loop")
        return time.perf_counter() - started

    short = 5
    return (run(short + iterations) - run(short)) / iterations


def run(*, quick: bool) -> dict[str, Any]:
    """Bare over loop time in images/s, pair by pair."""
    iterations, pairs = (3, 1) if quick else (40, 5)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare_synthetic(folder / "demo", num_train_identities=100, num_train_triplets=2000, progress=False)
        triplets = folder / "demo" / "triplets"
        (triplets / "tiny.npz").write_bytes(_first_triplets(triplets / "val.npz", folder))
        options = ["DATA.PATH", str(folder / "demo"), "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "0"]
        cfg = load_config(RECIPE, options)
        images = 3 * cfg.SOLVER.BATCH_SIZE
        bare, loop, ratio = [], [], []
        for _ in range(pairs):
            slow, fast = loop_seconds(cfg, iterations, folder), bare_step_seconds(cfg, iterations)
            bare.append(images / fast)
            loop.append(images / slow)
            ratio.append(fast / slow)
    measured = {
        "bare_images_per_s": spread(bare),
        "loop_images_per_s": spread(loop),
        "loop_over_bare": spread(ratio),
        "recipe": "config/demo.yaml",
    }
    print(f"bare step {measured['bare_images_per_s']['median']:.0f} images/s")  # type: ignore[index]
    print(f"loop      {measured['loop_images_per_s']['median']:.0f} images/s")  # type: ignore[index]
    print(f"loop over bare: {measured['loop_over_bare']['median']:.3f}")  # type: ignore[index]
    return measured


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _first_triplets(path: Path, folder: Path) -> bytes:
    """A split of a few triplets, so that the evaluation at the end of a run hardly counts."""
    import numpy as np

    with np.load(path) as file:
        np.savez(folder / "tiny.npz", **{name: file[name][:3] for name in file.files})
    return (folder / "tiny.npz").read_bytes()
