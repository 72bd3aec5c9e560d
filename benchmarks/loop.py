"""The training loop relative to the bare step: same net, data already on the device, no augmentation, no logging."""

from __future__ import annotations

import operator
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import spread
from fecnet.config.node import Frozen, load_config
from fecnet.data.build import build_augment, build_loader
from fecnet.data.packed import PackedDataset
from fecnet.engine.stepper import CUDA_GRAPHS, Augment, Stepper
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import build_criterion
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.runs.training import train_run
from fecnet.solver.build import build_optimizer
from fecnet.structures import Batch
from fecnet.utils.env import choose_device, choose_precision

RECIPE = Path(__file__).parents[1] / "config" / "demo.yaml"
LARGE_RECIPE = Path(__file__).parents[1] / "config" / "fec_code_resnet18.yaml"
REQUIRED = 0.97
FEW: dict[str, Any] = {f"num_{split}_identities": 20 for split in ("train", "val", "test")}
FEW |= {"num_train_triplets": 300, "num_val_triplets": 60, "num_test_triplets": 60}
_BATCHES = 8  # of the bare step, on the device: they differ in size
WARM = 3  # first iterations, not counted


def bare_step(cfg: Frozen) -> Callable[[Batch], None]:
    """Forward, criterion, backward and update of a net of its own, for batches on the device, augmented before."""
    device = choose_device(cfg.DEVICE)
    dataset = PackedDataset(cfg.DATA.PATH)
    model = build_model(cfg, len(dataset.channels)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion, optimizer = build_criterion(cfg).to(device), build_optimizer(cfg, model)
    precision = choose_precision(cfg.SOLVER.PRECISION, device)
    mode = CUDA_GRAPHS if cfg.SOLVER.CUDA_GRAPHS else "default"
    net = torch.compile(model, mode=mode) if cfg.SOLVER.COMPILE else model

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            out = {name: batch.of_samples(value_U) for name, value_U in net(batch.image_UCHW).items()}
        (criterion(out, batch)["triplet"] / cfg.SOLVER.BATCH_SIZE).backward()
        optimizer.step()

    return step


def bare_step_seconds(cfg: Frozen, iterations: int) -> float:
    """Seconds of a bare step, the mean over many batches in a row.

    Each is seen twice before: CUDA graphs are recorded the second time.
    """
    device, step, dataset = choose_device(cfg.DEVICE), bare_step(cfg), PackedDataset(cfg.DATA.PATH)
    loader = build_loader(cfg, dataset, rank=0, world_size=1, device=device)
    augment = build_augment(cfg, dataset.channels)
    batches = [augment(of[0].to(device), iteration) for iteration, of in loader(1, min(iterations, _BATCHES))]
    for batch in batches * 2:
        step(batch)
    begun = _now(device)
    for _, batch in zip(range(iterations), cycle(batches), strict=False):
        step(batch)
    return (_now(device) - begun) / iterations


def paired_seconds(cfg: Frozen, folder: Path, iterations: int) -> tuple[list[float], list[float]]:
    """Seconds of each iteration of the loop, and of a bare step that runs in the middle of each.

    Neighbours meet the same state of the machine, whose speed changes by a third from one second to the next. The
    bare step runs when an iteration's update is made, so that nothing of the loop can hide behind it: the next faces
    are copied by then. Its batch is that of the iteration: batches differ in how many faces they show.
    """
    bare, step, device = bare_step(cfg), Stepper.step, choose_device(cfg.DEVICE)
    loop_s: list[float] = []
    bare_s: list[float] = []
    marks: list[tuple[float, float, float, float]] = []

    def paired(self: Stepper, batches: Sequence[Batch], augment: Augment, iteration: int) -> None:
        begun = _now(device)
        step(self, batches, augment, iteration)
        updated = _now(device)
        batch = augment(batches[0].to(device), iteration)
        ready = _now(device)
        bare(batch)
        marks.append((begun, updated, ready, _now(device)))

    _train_with(paired, cfg, folder, iterations, save_period=0)
    for (begun, updated, ready, went_on), (following, *_) in pairwise(marks[WARM:]):
        loop_s.append((updated - begun) + (following - went_on))
        bare_s.append(went_on - ready)
    return loop_s, bare_s


def iteration_seconds(cfg: Frozen, folder: Path, iterations: int, *, save_period: int = 0) -> list[float]:
    """Seconds of each iteration of the training loop, all of it: data, augmentation, logging, checkpoints.

    Taken between the beginnings of two iterations from the first one on; start-up and the evaluation at the end do
    not count.
    """
    begun: list[float] = []
    step, device = Stepper.step, choose_device(cfg.DEVICE)

    def noted(self: Stepper, batches: Sequence[Batch], augment: Augment, iteration: int) -> None:
        begun.append(_now(device))
        step(self, batches, augment, iteration)

    _train_with(noted, cfg, folder, iterations, save_period=save_period)
    return [after - before for before, after in pairwise(begun)]


def loop_seconds(cfg: Frozen, folder: Path, iterations: int) -> float:
    """Median seconds per iteration of the training loop: the machine's bursts of other work do not count."""
    return statistics.median(iteration_seconds(cfg, folder, iterations + WARM)[WARM:])


def small_demo(folder: Path, *, quick: bool) -> Frozen:
    """A small synthetic data set in ``folder`` and the demo's settings on it."""
    few: dict[str, Any] = {"num_train_identities": 100, "num_train_triplets": 2000}
    prepare_synthetic(folder / "demo", **(FEW if quick else few), progress=False)
    return load_config(RECIPE, ["DATA.PATH", str(folder / "demo")])


def run(*, quick: bool) -> dict[str, Any]:
    """Loop over bare step, iteration by iteration: of the demo, and of the published recipe at 160 pixels."""
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = {"demo": (small_demo(folder, quick=quick), 300), "160_pixels": (large_faces(folder, quick=quick), 15)}
        for name, (cfg, iterations) in cases.items():
            found[name] = measure(
                cfg, folder / "result", iterations=3 if quick else iterations, times=1 if quick else 3
            )
            ratio, rates = found[name]["loop_over_bare"], found[name]["triplets_per_s"]
            print(f"{name}: bare step {rates['bare']:.1f} triplets/s, loop {rates['loop']:.1f}")
            print(f"{name}: loop over bare {ratio['median']:.3f} ({ratio['min']:.3f}–{ratio['max']:.3f}; ≥ {REQUIRED})")
    return {**found, "required": REQUIRED}


def faces_a_batch(cfg: Frozen, iterations: int = 100) -> float:
    """Different faces that a batch shows, which is what goes through the net; a mean."""
    dataset = PackedDataset(cfg.DATA.PATH)
    loader = build_loader(cfg, dataset, rank=0, world_size=1, device=torch.device("cpu"))
    return statistics.mean(len(batch.row_U) for _, batches in loader(1, iterations) for batch in batches)


def large_faces(folder: Path, *, quick: bool, people: int = 60, triplets: int = 1200) -> Frozen:
    """The published recipe on synthetic faces, eight of each person, 30 triplets of 160 pixels a batch."""
    size = 48 if quick else 160
    prepare_synthetic(
        folder / "large",
        size=size,
        **FEW | ({} if quick else {"num_train_identities": people, "num_train_triplets": triplets}),
        progress=False,
    )
    narrow = ["MODEL.WIDTH_MULT", "0.125", "MODEL.NECK", "conv1x1"] if quick else []
    where = ["DATA.PATH", str(folder / "large"), "DATA.EVAL_SPLITS", "[val]", "DATA.INPUT_SIZE", str(size)]
    return load_config(LARGE_RECIPE, [*where, *narrow, "SOLVER.BATCH_SIZE", "4" if quick else "30"])


def measure(cfg: Frozen, folder: Path, *, iterations: int, times: int) -> dict[str, Any]:
    """Some runs of the loop with a bare step in the middle of each iteration."""
    runs = [paired_seconds(cfg, folder, iterations + WARM) for _ in range(times)]
    loop, bare = ([second for run_ in runs for second in run_[side]] for side in (0, 1))
    taken = {"bare": statistics.median(bare), "loop": statistics.median(loop)}
    return {
        "loop_over_bare": spread([statistics.median(map(operator.truediv, bare_s, loop_s)) for loop_s, bare_s in runs]),
        "loop_over_bare_total_time": round(sum(bare) / sum(loop), 4),
        "more_ms": round(1000 * (taken["loop"] - taken["bare"]), 2),
        "triplets_per_s": {name: round(cfg.SOLVER.BATCH_SIZE / second, 1) for name, second in taken.items()},
        "iterations": len(loop),
    }


def _train_with(step: Callable[..., None], cfg: Frozen, folder: Path, iterations: int, *, save_period: int) -> None:
    """A run of ``iterations + 1`` iterations in which ``step`` stands for the stepper's."""
    options = ["OUTPUT_DIR", str(folder), "SOLVER.LENGTH", str(iterations + 1), "EVAL.PERIOD", "0"]
    options += ["CHECKPOINT.PERIOD", str(save_period), "LOG.TENSORBOARD", "false"]
    original = Stepper.step
    Stepper.step = step  # type: ignore[method-assign]
    try:
        train_run(load_config(None, options, base=cfg), recipe="loop")
    finally:
        Stepper.step = original  # type: ignore[method-assign]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
