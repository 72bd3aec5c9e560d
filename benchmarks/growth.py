"""Scaling of cost with problem size: start-up time, memory and seconds per iteration, as one plot.

Triplets from 1,000 to 10 million, faces from 1,000 to a million (sparse files, which take no disk space), batches from
32 to 8,192 triplets, and one or two processes; with a narrow net, so that data path and training loop dominate. Each
point is a separate process, from its start to its first update. Memory is the private memory of the process, without
the memory-mapped faces.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.demo import ROOT
from benchmarks.loop import RECIPE
from fecnet.config.node import load_config
from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.faces.recipe import FaceRecipe
from fecnet.runs.tasks import find_task
from fecnet.runs.training import build_trainer, open_dataset
from fecnet.structures import PACKED_FORMAT
from fecnet.utils import comm
from fecnet.utils.files import replace_arrays, replace_json
from fecnet.utils.memory import keep_freed_memory

PICTURE = ROOT / "docs" / "images" / "growth.png"
SIZE = 32  # pixels
NET = (
    *("MODEL.WIDTH_MULT", "0.125", "MODEL.BLOCKS", "[1, 1]", "MODEL.NECK", "conv1x1", "MODEL.NECK_CHANNELS", "16"),
    *("MODEL.FEATURE_DIM", "16", "DATA.INPUT_SIZE", str(SIZE), "DATA.EVAL_SPLITS", "[val]", "DEVICE", "cpu"),
)
REQUIRED_START_S, REQUIRED_MB = 10.0, 2000.0  # at ten million triplets over a million faces
_STARTED = "FECNET_BENCHMARK_STARTED"


def run(*, quick: bool) -> dict[str, Any]:
    """All curves; of a quick run one point."""
    sizes = (1000, 2000) if quick else (10**3, 10**4, 10**5, 10**6, 10**7)
    faces = (1000,) if quick else (10**3, 10**4, 10**5, 10**6)
    batch_sizes = (32, 128, 512, 2048, 8192)
    iterations = 2 if quick else 10
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plans = {
            "triplets": [(size, (faces[-1], size, 32, 1)) for size in sizes],
            "faces": [(size, (size, sizes[len(sizes) // 2], 32, 1)) for size in faces],
            "batch": [(size, (faces[-1], max(sizes[1], 2 * size), size, 1)) for size in batch_sizes],
            "processes": [(number, (faces[0], sizes[0], 32 if quick else 512, number)) for number in (1, 2)],
        }
        if quick:
            plans = {"triplets": plans["triplets"][:1]}
        for name, points in plans.items():
            found[name] = []
            for size, (num_faces, num_triplets, batch, processes) in points:
                data = sparse_set(folder / f"{num_faces}-{num_triplets}", num_faces, num_triplets)
                found[name].append({name: size, **measured(data, batch, processes, iterations)})
                print(json.dumps(found[name][-1]), flush=True)
    if not quick:
        draw(found)
    largest = found["triplets"][-1]
    print(
        f"{largest['triplets']:,} triplets over {faces[-1]:,} faces: {largest['start_s']:.1f} s to the first update "
        f"(≤ {REQUIRED_START_S:g}), {largest['memory_mb']:.0f} MB (≤ {REQUIRED_MB:g})"
    )
    return {**found, "required": {"start_s": REQUIRED_START_S, "memory_mb": REQUIRED_MB}, "picture": PICTURE.name}


def sparse_set(path: Path, num_faces: int, num_triplets: int, *, written: int = 0) -> Path:
    """A packed data set of black faces that were never written, and random triplets.

    Args:
        path: the folder; what is there already is taken.
        num_faces: N.
        num_triplets: of the training split.
        written: faces with random pixels among the others, at equal distances; of a triplet two are of these, so that
            there is something to learn.
    """
    if (path / "dataset.json").exists():  # written last
        return path
    (path / "triplets").mkdir(parents=True, exist_ok=True)
    shape = (num_faces, SIZE, SIZE, 3)
    faces_NHWC = np.lib.format.open_memmap(path / "faces.npy", mode="w+", dtype=np.uint8, shape=shape)
    rng = np.random.default_rng(0)
    step = num_faces // written if written else num_faces
    for row in range(0, num_faces if written else 0, step):
        faces_NHWC[row] = rng.integers(0, 256, shape[1:], np.uint8)
    faces_NHWC.flush()
    for split, number in (("train", num_triplets), ("val", 300)):
        faces_T3 = rng.integers(0, num_faces, (number, 3), dtype=np.int32)
        if written:
            faces_T3[:, 1:] -= faces_T3[:, 1:] % step
        replace_arrays(
            path / "triplets" / f"{split}.npz",
            faces=faces_T3,
            odd=rng.integers(0, 3, number, dtype=np.int8),
            type=(np.arange(number) % 3).astype(np.int8),
            votes=np.zeros((number, 3), np.uint8),
        )
    described = {"format": PACKED_FORMAT, "name": "sparse", "num_faces": num_faces, "height": SIZE, "width": SIZE}
    described |= {"channels": ["R", "G", "B"], "sources": {}, "splits": {}, "label_sets": {}, "coverage": {}}
    # not hashed: the file is as large as the largest set, and nothing here checks it
    described |= {"faces": FaceRecipe().to_dict(), "files": {"faces.npy": {"sha256": "not computed"}}}
    replace_json(path / "dataset.json", described)
    return path


def measured(data: Path, batch: int, processes: int, iterations: int) -> dict[str, Any]:
    """Start ``main`` on so many processes of one thread; what rank 0 prints. The page cache holds the faces."""
    with (data / "faces.npy").open("rb") as file:
        while file.read(1 << 26):
            pass
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "benchmarks.growth"]
    printed = subprocess.run(
        [*command, str(data), str(batch), str(iterations)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", _STARTED: str(time.time())},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return dict(json.loads(printed.splitlines()[-1]))


def main() -> None:
    """One point: train for some iterations, and print what it took."""
    data, batch, iterations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cfg = load_config(RECIPE, [*NET, "DATA.PATH", data, "SOLVER.BATCH_SIZE", str(batch)])
    device = torch.device("cpu")
    comm.start(device, {})
    dataset = open_dataset(cfg)
    trainer = build_trainer(cfg, dataset, find_task(cfg, dataset), device, None)
    keep_freed_memory()
    ended = [time.time() for _ in trainer.updates(1, iterations + 1)]
    if comm.is_main():
        print(
            json.dumps(
                {
                    "start_s": round(ended[0] - float(os.environ[_STARTED]), 2),
                    "memory_mb": round(memory_mb()),
                    "iteration_ms": round(1000 * statistics.median(b - a for a, b in pairwise(ended)), 2),
                }
            )
        )
    comm.stop()


def memory_mb(pid: int | str = "self") -> float:
    """Memory of a process that no file stands behind, now."""
    status = (Path("/proc") / str(pid) / "status").read_text(encoding="utf-8")
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) / 1000


def draw(found: dict[str, list[dict[str, Any]]]) -> None:
    """A column for each curve, a row for each cost: what should not grow from 0 on, iterations logarithmically."""
    costs = {"start_s": "start-up, s", "memory_mb": "memory, MB", "iteration_ms": "iteration, ms"}
    shape = {"nrows": len(costs), "ncols": len(found), "sharex": "col", "sharey": "row"}
    figure, axes = new_figure(3.0 * len(found), 2.2 * len(costs), **shape)
    for row, (cost, label) in enumerate(costs.items()):
        for column, (name, points) in enumerate(found.items()):
            axis = axes[row][column]
            sizes = [point[name] for point in points]
            axis.plot(sizes, [point[cost] for point in points], "o-")
            axis.grid(alpha=0.3)
            if name == "processes":
                axis.set_xticks(sizes)
            else:
                axis.set_xscale("log")
            if not column:
                axis.set_ylabel(label)
            if row == len(costs) - 1:
                axis.set_xlabel(name)
        if cost == "iteration_ms":
            axes[row][0].set_yscale("log")
        else:
            axes[row][0].set_ylim(bottom=0)  # when all of the row is drawn: it ends the search for limits
    save_figure(figure, PICTURE)


if __name__ == "__main__":
    main()
