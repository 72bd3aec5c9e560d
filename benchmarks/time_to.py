"""Training time until validation triplets are right: today's recipe, faster ones, and the original one on its loop.

- ``demo``: 88 % of the synthetic set's triplets; today's recipe is ``config/demo.yaml``.
- ``ferplus``: 65 % of FERPlus' triplets (PublicTest); today's recipe is ``config/ferplus.yaml``. Passed over without
  ``datasets/ferplus``.

All train the same net from scratch on the same faces, and stop at the first evaluation that reaches the accuracy, or
when they have taken ``patience`` times as long as the fastest. Evaluations do not count. The faster recipes use what
the set holds beside its triplets: the class of each face, or the shares of its annotators' votes. On the demo each
means is also measured alone. The original recipe is that of the published code: JPEG files opened inside the loop,
float32, Adam at 1e-4, batches of 30 triplets, a loss over all (3B)³ combinations.

What was measured is kept in ``result/time_to``, a task a file: it is not measured again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.demo import ROOT
from benchmarks.loop import FEW
from benchmarks.peers import JpegTriplets, batches, endless, original_loss, write_jpegs
from benchmarks.record import spread
from fecnet.config.node import Frozen, load_config
from fecnet.data.packed import PackedDataset
from fecnet.modeling.build import build_model
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.runs.tasks import build_evaluator, find_task
from fecnet.runs.training import build_trainer
from fecnet.utils import comm
from fecnet.utils.env import choose_device, provenance
from fecnet.utils.files import replace_json
from fecnet.utils.in_place import make_folders
from fecnet.utils.memory import keep_freed_memory

REQUIRED = 0.5  # of today's time, at most
TODAY, FAST, ORIGINAL = "today", "fast", "original"

Updates = Callable[[Frozen], Iterator[nn.Module]]  # each makes an update and gives the net to be measured


@dataclass(frozen=True)
class Task:
    """A set with triplets, and recipes for it.

    Attributes:
        recipe: its file in ``config/``, today's.
        wanted: per cent of ALL on the first of ``DATA.EVAL_SPLITS``.
        period: iterations between two evaluations; fewer where batches are larger.
        patience: how many times as long as the fastest the others are trained.
        seeds: of the fastest and of today's recipe; single means and the original loop have the first alone.
        recipes: overrides of the recipe by name; ``fast`` is all means together, the others are single ones.
    """

    recipe: str
    wanted: float
    period: int
    patience: float
    seeds: tuple[int, ...]
    recipes: dict[str, tuple[str, ...]]


_SMALL_BATCHES = ("SOLVER.BATCH_SIZE", "30")
_CLASSES = (
    *("MODEL.HEAD", "joint", "DATA.LABELS", "synthetic"),
    *("LOSS.CRITERIA", "[triplet,cross_entropy]", "LOSS.WEIGHTS", "[1.0,0.5]"),
)
_VOTES = (
    *("MODEL.HEAD", "joint", "DATA.LABELS", "ferplus", "DATA.BALANCE_TRIPLET_TYPES", "false"),
    *("LOSS.CRITERIA", "[hellinger,soft_targets]", "LOSS.WEIGHTS", "[1.0,1.0]", "LOSS.MARGIN_TWO_CLASS", "0.2"),
)
TASKS = (
    Task(
        "demo",
        88.0,
        20,
        4.0,
        (0, 1, 2),
        {FAST: (*_SMALL_BATCHES, *_CLASSES), "batches of 30": _SMALL_BATCHES, "classes": _CLASSES},
    ),
    Task("ferplus", 65.0, 100, 2.5, (0,), {FAST: (*_VOTES, "SOLVER.BATCH_SIZE", "64", "SOLVER.LENGTH", "2800")}),
)


def run(*, quick: bool) -> dict[str, Any]:
    """Both tasks; a quick run wants nothing, and takes two iterations on a few synthetic faces."""
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        demo, ferplus = Path(temporary) / "demo", ROOT / "datasets" / "ferplus"
        prepare_synthetic(demo, **(FEW if quick else {}), progress=False)
        for task, data in zip(TASKS[: 1 if quick else 2], (demo, ferplus), strict=False):
            kept = ROOT / "result" / "time_to" / f"{task.recipe}.json"
            if not (data / "dataset.json").is_file():
                print(f"{data} is absent: not measured")
            elif kept.is_file() and not quick:
                found[task.recipe] = json.loads(kept.read_text())
            else:
                found[task.recipe] = measure(task, data, Path(temporary), quick=quick)
                if not quick:
                    make_folders(kept.parent)
                    replace_json(kept, found[task.recipe])
    return found


def measure(task: Task, data: Path, temporary: Path, *, quick: bool) -> dict[str, Any]:
    """Seconds and iterations by recipe and seed.

    Args:
        task: what is learned.
        data: packed set.
        temporary: for the original loop's files.
        quick: two iterations of each.
    """
    wanted, period, seeds = (0.0, 2, (0,)) if quick else (task.wanted, task.period, task.seeds)
    files = write_jpegs(PackedDataset(data), temporary / f"jpeg-{task.recipe}")
    recipes = {FAST: task.recipes[FAST], TODAY: (), **task.recipes}
    found: dict[str, dict[str, Any]] = {name: {} for name in (*recipes, ORIGINAL)}

    def train(name: str, seed: int, overrides: tuple[str, ...], updates: Updates) -> None:
        common = ["DATA.PATH", str(data), "DATA.SOURCE", "", "SEED", str(seed)]
        cfg = load_config(ROOT / "config" / f"{task.recipe}.yaml", [*common, *overrides])
        patience = task.patience * found[FAST][str(seed)]["seconds"] if found[FAST] and name != FAST else float("inf")
        told = until(cfg, updates, wanted=wanted, period=period, patience=patience)
        print(f"{task.recipe}, {name}, seed {seed}: {told}", flush=True)
        found[name][str(seed)] = told

    for seed in seeds:
        for name, overrides in recipes.items():
            if seed == seeds[0] or name in (FAST, TODAY):
                train(name, seed, overrides, our_updates)
    train(ORIGINAL, seeds[0], (), lambda cfg: original_updates(cfg, files))
    of_today = [found[FAST][str(seed)]["seconds"] / found[TODAY][str(seed)]["seconds"] for seed in seeds]
    return {
        "commit": provenance()["commit"],
        "wanted_percent": wanted,
        "recipe": f"config/{task.recipe}.yaml",
        "overrides": {name: " ".join(overrides) for name, overrides in recipes.items()},
        "found": found,
        "fast_over_today": spread(of_today),
        "required": REQUIRED,
    }


def until(
    cfg: Frozen,
    updates: Updates,
    *,
    wanted: float,
    period: int,
    patience: float = float("inf"),
) -> dict[str, Any]:
    """Train until an evaluation reaches ``wanted`` per cent, ``patience`` seconds are over, or the updates end.

    Args:
        cfg: settings.
        updates: of the net.
        wanted: of ALL on the first of ``DATA.EVAL_SPLITS``.
        period: iterations between two evaluations.
        patience: seconds of training.
    """
    device = choose_device(cfg.DEVICE)
    if device.type == "cpu":
        keep_freed_memory()
    split = cfg.DATA.EVAL_SPLITS[0]
    evaluate = build_evaluator(cfg, PackedDataset(cfg.DATA.PATH), [split], device)
    begun, seconds, percent, iteration = time.perf_counter(), 0.0, 0.0, 0
    for iteration, net in enumerate(updates(cfg), start=1):
        if iteration % period == 0:
            seconds += time.perf_counter() - begun
            percent = evaluate(net)[split].metrics()["ALL"] or 0.0
            if percent >= wanted or seconds > patience:
                break
            begun = time.perf_counter()
    return {
        "reached": percent >= wanted,
        "percent": round(percent, 2),
        "seconds": round(seconds, 1),
        "iterations": iteration,
    }


def our_updates(cfg: Frozen) -> Iterator[nn.Module]:
    """A recipe, all of it."""
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
    model = build_model(cfg, len(PackedDataset(cfg.DATA.PATH).channels)).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, weight_decay=5e-4)
    for image_B3CSS, odd_B in endless(batches(files, 30, workers=None)):
        optimizer.zero_grad()
        original_loss(model(image_B3CSS.flatten(0, 1).to(device))["embedding"], odd_B.to(device)).backward()
        optimizer.step()
        yield model
