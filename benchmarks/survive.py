"""Fault tolerance: runs that are killed and resumed, compared with an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.checkpointer import load_trainer
from fecnet.prepare.synthetic import prepare_synthetic

ROOT = Path(__file__).parents[1]
LIMIT_S = 60.0  # within which a launch must end once a rank is dead
RECIPE = """
DATA: {PATH: %s, INPUT_SIZE: 48}
AUGMENT: {FLIP: 0.5, TRANSLATE: 0.05}
MODEL: {BACKBONE: resnet18, WIDTH_MULT: 0.25, BLOCKS: [1, 1], NECK: conv1x1, NECK_CHANNELS: 32, FEATURE_DIM: 32}
SOLVER: {LENGTH: %d, BATCH_SIZE: 12, OPTIMIZER: adamw, BASE_LR: 1e-3, EMA_DECAY: 0.9, SCHEDULE: cosine}
EVAL: {PERIOD: 40}
CHECKPOINT: {PERIOD: 10}
LOG: {PERIOD: 4, TENSORBOARD: false}
DEVICE: cpu
"""


def run(*, quick: bool) -> dict[str, Any]:
    """Kill, go on, compare; stops with an error at the first difference."""
    kills, launches = (2, 1) if quick else (30, 20)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare_synthetic(folder / "data", num_train_identities=30, num_train_triplets=400, progress=False)
        recipe = folder / "small.yaml"
        recipe.write_text(RECIPE % (folder / "data", 120))
        return {
            "killed_and_resumed": kill_one_process(folder, recipe, kills),
            "rank_killed": kill_a_rank(folder, recipe, launches, restarts=0),
            "rank_killed_and_restarted": kill_a_rank(folder, recipe, launches, restarts=1),
        }


def kill_one_process(folder: Path, recipe: Path, kills: int) -> dict[str, Any]:
    """Kill -9 at a random moment of a run, then ``--resume auto``: equal to the bit, n of n."""
    began = time.monotonic()
    finish(start(folder, recipe, "whole"))
    whole_s = time.monotonic() - began
    moments, found_at = random.Random(0), []
    for number in range(kills):
        name = f"killed-{number}"
        process = start(folder, recipe, name)
        # from the end of the imports to the end of the run
        time.sleep(moments.uniform(0.4, 1.0) * whole_s)
        process.kill()
        process.communicate()
        last = folder / "result" / name / "checkpoints" / "last"
        found_at.append(check_whole(last.parents[1]) if last.exists() else 0)
        finish(start(folder, recipe, name))
        assert_same(folder / "result" / "whole", folder / "result" / name)
        print(f"kill {number + 1} of {kills}: {last.parent} at iteration {found_at[-1]}; equal to the bit")
    return {"kills": kills, "equal": len(found_at), "iterations": found_at}


def kill_a_rank(folder: Path, recipe: Path, launches: int, *, restarts: int) -> dict[str, Any]:
    """Kill -9 of one rank of three under torchrun, at a random moment after the first checkpoint.

    Without restarts the launch must end non-zero within a minute; with one it must end well, with the result of a
    launch that was left alone.
    """
    whole = f"whole-of-three-{restarts}"
    finish(start(folder, recipe, whole, ranks=3))
    moments, seconds = random.Random(restarts), []
    for number in range(launches):
        name = f"rank-killed-{restarts}-{number}"
        launcher = start(folder, recipe, name, ranks=3, restarts=restarts)
        wait_for(folder / "result" / name / "checkpoints" / "last", launcher)
        time.sleep(moments.uniform(0.0, 1.0))
        victims = children(launcher.pid)
        assert len(victims) == 3, f"{len(victims)} ranks when one was to be killed; the run is too short"
        victim = moments.choice(victims)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        try:
            code = launcher.wait(LIMIT_S if not restarts else 10 * LIMIT_S)
        finally:
            for pid in victims:
                assert not alive(pid), f"rank {pid} outlived its launcher"
        seconds.append(time.monotonic() - began)
        assert (code == 0) == bool(restarts), launcher.communicate()[0]
        if restarts:
            assert_same(folder / "result" / whole, folder / "result" / name)
        else:
            check_whole(folder / "result" / name)
        print(f"rank {number + 1} of {launches} killed, {restarts} restart(s): exit {code} after {seconds[-1]:.1f} s")
    return {"launches": launches, "as_required": len(seconds), "longest_s": max(seconds)}


def start(folder: Path, recipe: Path, name: str, *, ranks: int = 1, restarts: int = 0) -> subprocess.Popen[str]:
    """Start train.py on one process, or on several under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc_per_node={ranks}", f"--max-restarts={restarts}"]
    command = [*(launcher if ranks > 1 else [sys.executable]), str(ROOT / "train.py"), "--resume", "auto"]
    command += [str(recipe), "OUTPUT_DIR", str(folder / "result"), "NAME", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a run that nothing disturbs."""
    output = process.communicate(timeout=10 * LIMIT_S)[0]
    assert process.returncode == 0, output


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Wait until ``file`` is there."""
    while not file.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started, read from /proc."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether ``pid`` runs; a process that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def check_whole(run_folder: Path) -> int:
    """Read all that ``last`` names; its iteration."""
    checkpoint = find_checkpoint(run_folder, "last")
    load_trainer(checkpoint)
    return load_info(checkpoint).iteration


def assert_same(one: Path, other: Path) -> None:
    """Weights, optimizer and metrics of two runs are equal to the bit; only the time they took may differ."""
    left, right = find_checkpoint(one, "last"), find_checkpoint(other, "last")
    for name in ("model.safetensors", "metrics.jsonl"):
        pair = [(path if name.startswith("model") else path.parents[1]) / name for path in (left, right)]
        assert pair[0].read_bytes() == pair[1].read_bytes(), f"{pair[0]} and {pair[1]} differ"
    states = [load_trainer(checkpoint) for checkpoint in (left, right)]
    for state in states:
        del state["progress"]["seconds"]
    assert equal(*states), f"{left}/trainer.pt and {right}/trainer.pt differ"
    pointers = [(path / "checkpoints" / "best").read_text() for path in (one, other)]
    assert pointers[0] == pointers[1], f"best of {one} and {other} differ: {pointers}"


def equal(one: Any, other: Any) -> bool:
    """Equality of nested plain values and tensors."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
