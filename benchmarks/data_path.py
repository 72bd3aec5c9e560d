"""Throughput of the data path only: faces from the memory map, with each augmentation, and what training needs.

Baseline: the same faces from JPEG files with torchvision's decoder and transforms in this process, one at a time, as in
a DataLoader worker. All variants are measured alternately in one run, one thread per process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch

from benchmarks.loop import bare_step_seconds, small_demo
from benchmarks.peers import write_jpegs
from benchmarks.record import seconds, spread
from fecnet.config.node import load_config
from fecnet.data.build import build_augment, build_loader
from fecnet.data.packed import PackedDataset

CPU = torch.device("cpu")
AUGMENTATIONS = {  # beside the crop alone
    "flip": ("AUGMENT.FLIP", "0.5"),
    "geometry": ("AUGMENT.ROTATE", "10.0", "AUGMENT.SCALE", "0.1", "AUGMENT.TRANSLATE", "0.05", "AUGMENT.FLIP", "0.5"),
    "colours": ("AUGMENT.BRIGHTNESS", "0.2", "AUGMENT.CONTRAST", "0.2", "AUGMENT.SATURATION", "0.2"),
    "noise": ("AUGMENT.NOISE", "0.02"),
    "erase": ("AUGMENT.RANDOM_ERASE", "0.5"),
}
ALL = tuple(option for options in AUGMENTATIONS.values() for option in options)
NONE = ("AUGMENT.FLIP", "0.0")


def run(*, quick: bool) -> dict[str, Any]:
    """Faces/s of each, and the share of a bare training step that the demo's own data path would take."""
    iterations, rounds = (2, 1) if quick else (60, 5)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cfg = small_demo(folder, quick=quick)
        dataset = PackedDataset(cfg.DATA.PATH)
        loader = build_loader(cfg, dataset, rank=0, world_size=1, device=CPU)
        numbers = count(1)
        batch = loader.gather(1)[0]
        faces = len(batch.row_U)
        files = write_jpegs(dataset, folder / "jpeg")

        def augmented(options: tuple[str, ...]) -> Callable[[], object]:
            augment = build_augment(load_config(None, [*NONE, *options], base=cfg), dataset.channels)
            return lambda: augment(batch, next(numbers))

        paths: dict[str, tuple[Callable[[], object], int]] = {
            "gather": (lambda: loader.gather(next(numbers)), faces),
            "jpeg_files": (lambda: files[next(numbers) % len(files)], 3),
            "crop": (augmented(()), faces),
            **{name: (augmented(options), faces) for name, options in AUGMENTATIONS.items()},
            "all_augmentations": (augmented(ALL), faces),
        }
        taken: dict[str, list[float]] = {name: [] for name in paths}
        for _ in range(rounds + 1):
            for name, (path, shown) in paths.items():
                found = seconds(lambda path=path: [path() for _ in range(iterations)])  # type: ignore[misc]
                taken[name].append(found / iterations / shown)
        sizes = [len(batches[0].row_U) for _, batches in loader(1, 8)]
        step = bare_step_seconds(cfg, iterations) / (sum(sizes) / len(sizes))
    rates = {name: spread([1 / second for second in found[1:]]) for name, found in taken.items()}
    for name, rate in rates.items():
        print(f"{name:<18}{rate['median']:>10,.0f} faces/s{100 / rate['median'] / step:>8.2f} % of a bare step")
    return {
        "faces_per_s": rates,
        "bare_step_faces_per_s": round(1 / step),
        "percent_of_a_bare_step": {name: round(100 / rate["median"] / step, 2) for name, rate in rates.items()},
        "threads": 1,
        "recipe": "config/demo.yaml",
    }
