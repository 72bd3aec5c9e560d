"""A run under torchrun on three processes that continues with two after a loss, and with four when a machine joins.

Two agents of torchrun are two machines. Losses and weights are compared with those of one process that nothing
disturbed: a small learning rate keeps rounding small, and losses of other batches would differ by a tenth and more.
Some four minutes on two cores.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.survive import LIMIT_S, ROOT, check_whole, children, finish, start
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.prepare.synthetic import prepare_synthetic

NEAR = 1e-3  # of losses and weights, relative to their size: sums of shares in another order, over all iterations
RECIPE = """
DATA: {PATH: %s, INPUT_SIZE: 48}
AUGMENT: {FLIP: 0.5, TRANSLATE: 0.05}
MODEL: {BACKBONE: inception_nn2, BATCH_NORM: false, NECK: none, FEATURE_DIM: 32, DROPOUT: 0.0}
SOLVER: {LENGTH: %d, BATCH_SIZE: 8, OPTIMIZER: sgd, BASE_LR: 1e-5, PRECISION: fp32, SCHEDULE: cosine}
EVAL: {PERIOD: 0}
CHECKPOINT: {PERIOD: 10}
LOG: {PERIOD: 4, TENSORBOARD: false}
DEVICE: cpu
"""


def run(*, quick: bool) -> dict[str, Any]:
    """Lose a machine of two, go on, let another join; stops with an error at the first difference."""
    length = 150 if quick else 400
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare_synthetic(folder / "data", num_train_identities=30, num_train_triplets=400, progress=False)
        recipe = folder / "small.yaml"
        recipe.write_text(RECIPE % (folder / "data", length))
        finish(start(folder, recipe, "whole"))
        told = change_machines(folder, recipe, length)
        difference = largest_difference(folder / "result" / "whole", folder / "result" / "elastic")
    print(f"largest difference of weights, relative: {difference:.1e}")
    return {"processes": [3, 2, 4], "iterations": length, "told": told, "largest_difference": difference}


def change_machines(folder: Path, recipe: Path, length: int) -> list[str]:
    """Three processes on two machines; one is killed, another with two joins; the lines told at each change."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    last = folder / "result" / "elastic" / "checkpoints" / "last"
    stays = machine(folder, recipe, port, processes=2, log="stays")
    lost = machine(folder, recipe, port, processes=1, log="lost")
    wait_until(last, 1, stays)
    victims = [lost.pid, *children(lost.pid)]
    for victim in victims:  # the launcher first: it can tell nobody
        os.kill(victim, signal.SIGKILL)
    lost.wait()
    before = check_whole(last.parents[1])
    print(f"a machine of one process killed after iteration {before}")
    wait_until(last, before + 20, stays)
    joins = machine(folder, recipe, port, processes=2, log="joins")
    for process in (stays, joins):
        assert process.wait(20 * LIMIT_S) == 0, f"exit {process.returncode}: {said(folder)}"
    assert load_info(find_checkpoint(last.parents[1], "last")).iteration == length
    told = [line.split(": ", 1)[1] for line in said(folder).splitlines() if ": saved by " in line]
    print(*told, sep="\n")
    counts = ["saved by 3 process(es), continues with 2", "saved by 2 process(es), continues with 4"]
    assert sorted(line.split(":")[0] for line in told) == sorted(counts), f"{told}: {said(folder)}"
    return told


def machine(folder: Path, recipe: Path, port: int, *, processes: int, log: str) -> subprocess.Popen[str]:
    """Start an agent of one elastic launch; what it and its ranks print goes to a file."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1:2", f"--nproc_per_node={processes}"]
    command += ["--max-restarts=3", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=elastic"]
    command += [f"--rdzv-conf=is_host={int(log == 'stays')}", "--local-addr=localhost"]
    command += [str(ROOT / "train.py"), "--resume", "auto", str(recipe)]
    command += ["OUTPUT_DIR", str(folder / "result"), "NAME", "elastic"]
    # else machines that join an elastic launch do not learn where its store is (torch 2.15)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with (folder / f"{log}.log").open("w") as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=folder)


def said(folder: Path) -> str:
    """All that the machines printed."""
    return "".join(file.read_text() for file in sorted(folder.glob("*.log")))


def wait_until(last: Path, iteration: int, launcher: subprocess.Popen[str]) -> None:
    """Wait for a checkpoint of ``iteration`` or later."""
    until = time.monotonic() + 10 * LIMIT_S
    while not last.exists() or int(last.read_text()) < iteration:
        assert launcher.poll() is None, said(last.parents[3])
        assert time.monotonic() < until, f"no checkpoint of iteration {iteration}: {said(last.parents[3])}"
        time.sleep(0.05)


def largest_difference(one: Path, other: Path) -> float:
    """Of the weights, relative to the largest of the net; the logged losses are near too.

    Raises:
        AssertionError: the runs are not the same within rounding.
    """
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in (one, other)]
    for left, right in zip(*(map(json.loads, each) for each in lines), strict=True):
        assert left["iteration"] == right["iteration"]
        if "loss" in left:
            assert abs(left["loss"] - right["loss"]) < NEAR * left["loss"], f"{left} and {right}"
    left, right = (load_file(find_checkpoint(run, "last") / "model.safetensors") for run in (one, other))
    # relative to all: a bias that began at zero is still as small as the rounding errors of its updates
    most = max(float(value.abs().max()) for value in left.values())
    found = max(float((value - right[name]).abs().max()) for name, value in left.items()) / most
    assert found < NEAR, f"weights differ by {found:.1e}"
    return found
