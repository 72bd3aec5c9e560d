"""Using a net on a CPU: faces/s, one face, memory and start-up, as ratios to another checkout in the same run.

``--before FOLDER`` names the other checkout, such as a ``git worktree`` of an earlier commit; without it, this one is
measured against itself. Each side trains the same recipes for two iterations on the same faces of noise, and opens its
own run in a process that embeds stored faces as ``fecnet.load`` does by default. Both processes wait while the other
computes, in random order. ``wall`` is what people wait for; ``cpu`` is processor seconds, of which other work on the
machine changes less. The nets: the demo's, the same on grey faces, as FER2013's are, and ResNet-18 at 160 pixels.

``means`` are parts of what this side does, each alone, on one thread: the model with channels-last weights, and the net
made for inference at several batch sizes, relative to the model as it was trained at 256 faces.

``start`` is `fecnet embed RUN PHOTO`, a process from its start to its end.
"""

from __future__ import annotations

import copy
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.checkouts import COMMAND, Worker, both, commits, environment
from benchmarks.demo import ROOT
from benchmarks.gpu import write_random_faces
from benchmarks.record import spread
from fecnet.data.build import build_views
from fecnet.encoder.saved_net import SavedNet, open_saved_net
from fecnet.engine.predict import Net, predict_batch
from fecnet.modeling.fast_inference import for_inference

NETS = {  # recipe, channels, side of the stored faces, faces of a call
    "demo": ("demo", ("R", "G", "B"), 48, 1024),
    "grey": ("demo", ("grey",), 48, 1024),
    "large": ("fec_code_resnet18", ("R", "G", "B"), 160, 64),
}
SCRIPT = Path(__file__).with_name("inference_worker.py")
THREADS = (1, 2)
ROUNDS, STARTS = 15, 7
REQUIRED = {"faces_per_s": 1.7, "start": 0.6, "peak_mb": 1.1, "difference": 1e-5}
_SHORT = (
    *("SOLVER.LENGTH", "2", "SOLVER.BATCH_SIZE", "4", "EVAL.PERIOD", "0", "DEVICE", "cpu"),
    *("DATA.EVAL_SPLITS", "[val]", "DATA.REPORT_SPLITS", "[val]"),
)


def run(*, quick: bool, before: str = "") -> dict[str, Any]:
    """Both sides in turn; a quick run takes the demo's net, one thread and one round."""
    nets, threads = (["demo"], (1,)) if quick else (list(NETS), THREADS)
    rounds, starts = (1, 1) if quick else (ROUNDS, STARTS)
    sides = both(before)
    found: dict[str, Any] = {**commits(sides), "required": REQUIRED}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in nets:
            recipe, channels, side, faces = NETS[name]
            data = folder / f"{name}-faces"
            write_random_faces(data, size=side, num_faces=60, num_triplets=60, channels=channels)
            runs = {key: train(path, recipe, data, folder / f"{name}-{key}") for key, path in sides.items()}
            for number in threads:
                found[f"{name}, {number} threads"] = compare(sides, runs, number, faces, rounds)
            found[f"{name}, means"] = means(runs["now"], min(faces, 256), rounds)
            if name == "demo":
                found["start"] = start(sides, runs, folder, starts)
    return found


def train(checkout: Path, recipe: str, data: Path, output: Path) -> Path:
    """The run of a checkout's own recipe after two iterations."""
    where = ["DATA.PATH", str(data), "OUTPUT_DIR", str(output), "NAME", "run", *_SHORT]
    command = [sys.executable, "train.py", f"config/{recipe}.yaml", *where]
    done = subprocess.run(command, cwd=checkout, env=environment(checkout, 1), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    return output / "run"


def compare(
    sides: dict[str, Path], runs: dict[str, Path], threads: int, faces: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Ratios of the two sides, of calls with many faces and with one."""
    workers = {name: Worker(SCRIPT, sides[name], [str(runs[name]), str(threads)], threads) for name in sides}
    taken: dict[tuple[str, int], list[dict[str, float]]] = {}
    for worker in workers.values():
        for count in (faces, 1):
            worker.ask(str(count))  # allocates
    for _ in range(rounds):
        for count in (faces, 1):
            for name in random.sample(list(workers), len(workers)):  # a fixed order can keep step with other work
                taken.setdefault((name, count), []).append(workers[name].ask(str(count)))
    here, plain = np.array(workers["now"].ask("npy")), plain_embeddings(open_saved_net(runs["now"]))
    for worker in workers.values():
        worker.close()
    measured: dict[str, dict[str, Any]] = {}
    for label, count in (("faces_per_s", faces), ("one_face", 1)):
        before, now = taken["before", count], taken["now", count]
        measured[label] = {
            "now": spread([count / one["wall"] for one in now]),
            "times_before": spread([old["wall"] / new["wall"] for old, new in zip(before, now, strict=True)]),
            "times_before_cpu": spread([old["cpu"] / new["cpu"] for old, new in zip(before, now, strict=True)]),
            "peak_mb_over_before": max(one["peak_mb"] for one in now) / max(one["peak_mb"] for one in before),
            "difference": float(np.abs(here - plain).max()),
        }
        print(f"{threads} threads, {label}: {measured[label]}", flush=True)
    return measured


def plain_embeddings(saved: SavedNet) -> np.ndarray:
    """Embeddings of the worker's forty faces by the module as it was trained."""
    shape = (saved.info.preprocessing.height, saved.info.preprocessing.width, len(saved.info.preprocessing.channels))
    return forward(saved, saved.net, np.random.default_rng(0).integers(0, 256, (1024, *shape), np.uint8)[:40], 40)


def forward(saved: SavedNet, net: Net, faces_NHWC: np.ndarray, batch_size: int) -> np.ndarray:
    """Embeddings of stored faces."""
    views = build_views(saved.cfg, *faces_NHWC.shape[1:3])
    parts = [faces_NHWC[first : first + batch_size] for first in range(0, len(faces_NHWC), batch_size)]
    device = torch.device("cpu")
    return np.concatenate([predict_batch(net, part, views=views, device=device)["embedding"].numpy() for part in parts])


def means(run: Path, faces: int, rounds: int) -> dict[str, dict[str, Any]]:
    """What each part gains alone, in processor seconds of one thread."""
    saved = open_saved_net(run)
    shown = saved.info.preprocessing
    noise = np.random.default_rng(0).integers(0, 256, (faces, shown.height, shown.width, len(shown.channels)), np.uint8)
    last = copy.deepcopy(saved.net).to(memory_format=torch.channels_last)
    fast = for_inference(saved.net)
    ways: dict[str, Callable[[], object]] = {"model": lambda: forward(saved, saved.net, noise, faces)}
    ways["channels-last weights"] = lambda: forward(saved, last, noise, faces)
    for size in (256, 64, 16, 1):
        ways[f"for inference, {size} a batch"] = partial(forward, saved, fast, noise, size)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            begun = time.process_time()
            ways[name]()
            taken[name].append(time.process_time() - begun)
    torch.set_num_threads(threads)
    found = {
        name: {"times_model": spread([model / own for model, own in zip(taken["model"], one, strict=True)])}
        for name, one in taken.items()
    }
    print("\n".join(f"{name}: {row['times_model']['median']:.2f} ×" for name, row in found.items()))
    return found


def start(sides: dict[str, Path], runs: dict[str, Path], folder: Path, pairs: int) -> dict[str, Any]:
    """`fecnet embed RUN PHOTO` by both sides in turn, and an import of torch alone."""
    photo = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)).save(photo)
    commands = {
        name: [
            "-P",
            "-c",
            COMMAND,
            "embed",
            str(runs[name]),
            str(photo),
            "--overwrite",
            "--output",
        ]
        for name in sides
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in (*sides, "torch")}
    for number in range(pairs + 1):
        for name in random.sample(list(taken), len(taken)):
            words = [*commands[name], str(folder / f"{name}.npy")] if name in sides else ["-c", "import torch"]
            measured = process_seconds(words, environment(sides.get(name, ROOT), 1))
            if number:  # the first reads the files from the disk
                taken[name].append(measured)
    ratios = {}
    for name in ("now", "torch"):
        for place, kind in enumerate(("wall", "cpu")):
            pairs_of = zip(taken[name], taken["before"], strict=True)
            ratios[f"{name} over before, {kind}"] = spread([own[place] / other[place] for own, other in pairs_of])
    print("\n".join(f"start, {name}: {ratio['median']:.2f} ×" for name, ratio in ratios.items()))
    return {**ratios, "before, wall s": spread([wall for wall, _ in taken["before"]])}


def process_seconds(words: Sequence[str], env: dict[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of a process, from its start to its end."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    wall, cpu = time.perf_counter(), used()
    done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)
    wall, cpu = time.perf_counter() - wall, used() - cpu
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return wall, cpu
