"""GPU measurements: step time by precision, input size and compilation, peak memory, scaling over 1..n GPUs.

CUDA graphs are measured where kernels are tiny: on a quarter of the recipe's backbone, trained, without its neck, at 48
pixels.

Faces are random, so that no download is needed: no time here depends on image content.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.loop import bare_step_seconds
from fecnet.config.node import Frozen, load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.prepare.writer import PackedWriter

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "config" / "fec_paper_resnet18.yaml"
COMPILATION = {
    "none": ("SOLVER.COMPILE", "false"),
    "compiled": ("SOLVER.COMPILE", "true"),
    "cuda_graphs": ("SOLVER.COMPILE", "true", "SOLVER.CUDA_GRAPHS", "true"),
}
SMALL_NET = ("MODEL.WIDTH_MULT", "0.25", "MODEL.NECK", "conv1x1", "MODEL.FREEZE_BACKBONE", "false")
SMALL_SIZE = 48  # pixels


@dataclass(frozen=True)
class Plan:
    """What is measured: lengths in iterations, sizes in pixels, batch in triplets, names of ``COMPILATION``."""

    device: str
    processes: tuple[int, ...]
    sizes: tuple[int, ...]
    precisions: tuple[str, ...]
    iterations: int
    batch: int
    compilation: tuple[str, ...] = ("none", "compiled")
    small_net: tuple[str, ...] = tuple(COMPILATION)
    options: tuple[str, ...] = ()


def run(*, quick: bool) -> dict[str, Any]:
    """All of it on this machine's GPUs; with ``quick`` the same code at a tiny size, on the CPU where there is no GPU.

    Returns:
        Nothing where there is no GPU to measure.
    """
    gpus = torch.cuda.device_count()
    if not gpus and not quick:
        print("no GPU here: not measured")
        return {}
    plan = (
        _quick_plan(gpus)
        if quick
        else Plan("cuda", tuple(range(1, gpus + 1)), (112, 160, 224), ("fp32", "bf16", "fp16"), 60, 90)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_random_faces(folder / "random", size=max(plan.sizes))
        common = [
            *("DATA.PATH", str(folder / "random"), "OUTPUT_DIR", str(folder / "result"), "DEVICE", plan.device),
            *("DATA.HOLD_OUT", "0", "DATA.EVAL_SPLITS", "[val]", "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "0"),
            *("LOG.TENSORBOARD", "false"),
            *("MODEL.PRETRAINED", ""),  # speed does not depend on what the weights are
            *plan.options,
        ]
        # So many faces that batches hardly share any: CUDA graphs are recorded for each number of faces in a batch.
        write_random_faces(folder / "small", size=SMALL_SIZE, num_faces=300 if quick else 30_000)
        small = [*common, *SMALL_NET, "DATA.PATH", str(folder / "small")]
        return {
            "recipe": str(RECIPE.relative_to(ROOT)),
            "triplets_per_batch": plan.batch,
            "bare_step": [
                bare_step(plan, common, *case) for case in product(plan.sizes, plan.precisions, plan.compilation)
            ],
            "loop_over_bare": [loop_over_bare(plan, common, size, plan.compilation[-1]) for size in plan.sizes],
            "loop_over_bare_small_net": [loop_over_bare(plan, small, SMALL_SIZE, how) for how in plan.small_net],
            "profile": profile(plan, common, plan.sizes[len(plan.sizes) // 2]),
            "loop_same_batch": loops(plan, common, grow=False),
            "loop_same_share": loops(plan, common, grow=True),
        }


def _quick_plan(gpus: int) -> Plan:
    tiny = ("MODEL.WIDTH_MULT", "0.125", "MODEL.NECK", "conv1x1", "MODEL.FEATURE_DIM", "16")
    if gpus:
        return Plan("cuda", tuple({1, gpus}), (32,), ("fp32", "bf16", "fp16"), 3, 4, options=tiny)
    return Plan("cpu", (1, 2), (32,), ("fp32", "bf16"), 3, 4, ("none",), ("none",), tiny)


def bare_step(plan: Plan, common: list[str], size: int, precision: str, how: str) -> dict[str, Any]:
    """Forward, criterion, backward and update on one device: triplets/s and peak memory; ``how`` it is compiled."""
    options = [*_sized(plan, size, how), "SOLVER.PRECISION", precision]
    cfg: Frozen = load_config(RECIPE, [*common, *options])
    torch._dynamo.reset()  # each case is compiled for itself, as in a separate process; few are kept
    if plan.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = bare_step_seconds(cfg, plan.iterations)
    found = {
        "input_size": size,
        "precision": precision,
        "compilation": how,
        "triplets_per_s": round(plan.batch / seconds, 1),
        "peak_memory_mb": torch.cuda.max_memory_allocated() // 2**20 if plan.device == "cuda" else None,
    }
    print(json.dumps(found))
    return found


def loop_over_bare(plan: Plan, common: list[str], size: int, how: str) -> dict[str, Any]:
    """The whole of train.py on one process over the bare step, both bf16 and compiled alike."""
    bare = bare_step(plan, common, size, "bf16", how)["triplets_per_s"]
    options = [*common, *_sized(plan, size, how), "SOLVER.PRECISION", "bf16"]
    loop = rate(options, plan, 1, f"size-{size}-{how}")
    found = {"input_size": size, "compilation": how, "triplets_per_s": round(loop, 1), "over_bare": loop / bare}
    print(json.dumps(found))
    return found


def _sized(plan: Plan, size: int, how: str) -> list[str]:
    return ["DATA.INPUT_SIZE", str(size), "SOLVER.BATCH_SIZE", str(plan.batch), *COMPILATION[how]]


def profile(plan: Plan, common: list[str], size: int) -> dict[str, Any]:
    """What share of its arithmetic and of its memory's bandwidth the device reaches, bf16, by ``fecnet profile``.

    The whole net is trained, also where the recipe freezes its backbone: a frozen one has no backward pass to count.
    """
    cfg = load_config(RECIPE, common)
    figures = Path(cfg.OUTPUT_DIR) / "profile.json"
    options = [*common, *_sized(plan, size, plan.compilation[-1]), "SOLVER.PRECISION", "bf16"]
    options += ["MODEL.FREEZE_BACKBONE", "false"]
    told = ["--iterations", str(plan.iterations), "--json", str(figures)]
    figures.parent.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "fecnet", "profile", str(RECIPE), *options, *told], cwd=ROOT, check=True)
    found = json.loads(figures.read_text())
    return {
        "input_size": size,
        **{key: value for key, value in found.items() if key.endswith(("_per_s", "mfu", "mbu"))},
    }


def loops(plan: Plan, common: list[str], *, grow: bool) -> list[dict[str, Any]]:
    """The whole of train.py on more and more processes: the same batch cut up, or a batch that grows with them."""
    found: list[dict[str, Any]] = []
    for processes in plan.processes:
        batch = plan.batch * (processes if grow else 1)
        options = [*common, "DATA.INPUT_SIZE", str(plan.sizes[-1]), "SOLVER.BATCH_SIZE", str(batch)]
        own = rate(options, plan, processes, f"{'share' if grow else 'batch'}-{processes}")
        speed_up = own / found[0]["triplets_per_s"] if found else 1.0
        case = {"processes": processes, "triplets_per_s": round(own, 1), "speed_up": round(speed_up, 2)}
        print(json.dumps({"grow": grow, **case}))
        found.append(case)
    return found


def rate(options: list[str], plan: Plan, processes: int, name: str) -> float:
    """Triplets/s of train.py: a long run less a short one, so that warm-up and evaluation cancel."""
    cfg = load_config(RECIPE, options)
    if cfg.SOLVER.COMPILE:  # what is compiled is kept on disk: not for the long run alone
        _training_seconds([*options, "NAME", f"{name}-first", "SOLVER.LENGTH", "2"], processes)
    short, long = (
        _training_seconds([*options, "NAME", f"{name}-{length}", "SOLVER.LENGTH", str(length)], processes)
        for length in (plan.iterations, 4 * plan.iterations)
    )
    return float(cfg.SOLVER.BATCH_SIZE * 3 * plan.iterations / (long - short))


def _training_seconds(options: list[str], processes: int) -> float:
    """Wall time of the training loop of one run, without start-up, as its checkpoint says it."""
    launcher = ["-m", "fecnet.utils.launch", str(processes)] if processes > 1 else []
    subprocess.run([sys.executable, *launcher, "train.py", str(RECIPE), *options], cwd=ROOT, check=True)
    cfg = load_config(RECIPE, options)
    return load_trainer(find_checkpoint(Path(cfg.OUTPUT_DIR) / cfg.NAME, "last"))["progress"]["seconds"]


def write_random_faces(
    path: Path,
    *,
    size: int,
    num_faces: int = 600,
    num_triplets: int = 3000,
    channels: Sequence[str] = ("R", "G", "B"),
) -> None:
    """A packed data set of noise, ``size`` pixels a side, with as many triplets of each type."""
    rng = np.random.default_rng(0)
    with PackedWriter(path, num_faces=num_faces, height=size, width=size, channels=channels) as writer:
        faces = rng.integers(0, 256, (num_faces, size, size, len(channels)), np.uint8)
        writer.add_faces(faces, [{"key": str(k), "source": f"random:{k}"} for k in range(num_faces)])
        for split, count in (("train", num_triplets), ("val", 3)):
            writer.add_triplets(
                split,
                faces_T3=np.stack([rng.choice(num_faces, 3, replace=False) for _ in range(count)]),
                odd_T=rng.integers(0, 3, count),
                type_T=np.arange(count) % 3,
                votes_T3=np.zeros((count, 3), np.uint8),
            )
        writer.set_coverage({"faces": {"read": num_faces, "kept": num_faces}})
