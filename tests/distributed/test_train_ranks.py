"""Whole runs on two ranks: equal to one, resumed exactly, and left together."""

import json
import logging
import os
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.engine.stepper import Stepper
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.runs.training import train_run
from fecnet.utils import comm
from tests.distributed.frozen import batch_norms_frozen
from tests.distributed.ranks import run_ranks
from tests.runs.test_train_run import assert_same_run

OPTIONS = (
    "SOLVER.BATCH_SIZE",
    7,
    "SOLVER.EMA_DECAY",
    0.9,
    "SOLVER.GRAD_ACCUM_STEPS",
    2,
    "DATA.WEIGHT_BY_AGREEMENT",
    "true",
)
# sgd, since adam divides what is nearly zero by itself and so makes rounding large
PLAIN = ("MODEL.DROPOUT", 0.0, "SOLVER.OPTIMIZER", "sgd", "SOLVER.BASE_LR", 0.01)


def train(recipe, *overrides, resume=""):
    cfg = load_config(recipe, [str(item) for item in (*OPTIONS, *overrides)])
    return train_run(cfg, recipe="tiny", resume=resume)


def train_frozen(recipe, name):
    with batch_norms_frozen():
        return train(recipe, *PLAIN, "SOLVER.EMA_DECAY", 0, "NAME", name)


def run_folder(recipe, name):
    return recipe.parent / "result" / name


def signalled_at(iteration, rank):
    """From now on, ``rank`` gets SIGTERM after its update of ``iteration``."""
    step = Stepper.step

    def step_then_signal(self, batches, augment, now):
        step(self, batches, augment, now)
        if now == iteration and comm.rank() == rank:
            os.kill(os.getpid(), signal.SIGTERM)

    Stepper.step = step_then_signal
    return step


def whole_and_parts(recipe):
    """A run, the same one with one rank signalled at iteration 3 and gone on, all in one start."""
    codes = [train(recipe, "NAME", "whole")]
    step = signalled_at(3, rank=1)
    codes.append(train(recipe, "NAME", "parts"))
    Stepper.step = step
    codes.append(find_checkpoint(run_folder(recipe, "parts"), "last").name)
    codes.append(train(recipe, "NAME", "parts", resume="auto"))
    codes.append(train_frozen(recipe, "plain"))
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("checkpoint")]
    return codes, threads


def test_resumed_equals_uninterrupted_and_many_equal_one(recipe):
    # of three numbers the order of adding shows, of two it does not
    for codes, threads in run_ranks(3, whole_and_parts, recipe, timeout=100):
        assert codes == [0, 128 + signal.SIGTERM, "4", 0, 0]  # the ranks know of a signal one iteration later
        assert not threads
    assert_same_run(run_folder(recipe, "whole"), run_folder(recipe, "parts"))

    assert train_frozen(recipe, "one") == 0
    one, two = (find_checkpoint(run_folder(recipe, name), "last") for name in ("one", "plain"))
    left, right = (load_file(checkpoint / "model.safetensors") for checkpoint in (one, two))
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-5, atol=1e-6)
    meta = [json.loads((checkpoint / "meta.json").read_text())["accuracy"] for checkpoint in (one, two)]
    assert meta[0] == meta[1]
    lines = [(run_folder(recipe, name) / "metrics.jsonl").read_text().splitlines() for name in ("one", "plain")]
    assert "spread" in json.loads(lines[0][0])  # of all triplets, whichever rank had them
    for first, second in zip(*lines, strict=True):
        assert json.loads(second) == pytest.approx(json.loads(first), rel=1e-5, abs=1e-6)
    # what many ranks saved continues with one
    assert train(recipe, *PLAIN, "SOLVER.EMA_DECAY", 0, "NAME", "plain", "SOLVER.LENGTH", 7, resume="auto") == 0


def part(recipe, length):
    """Train up to an iteration, under a torchrun whose machines count restarts each for itself.

    Returns the rows of each batch with their places by iteration, and what was told on a change of processes.
    """
    os.environ["TORCHELASTIC_RESTART_COUNT"] = os.environ["RANK"]
    step, seen, told = Stepper.step, {}, []

    def step_and_note(self, batches, augment, iteration):
        seen[iteration] = [list(zip(b.position_N.tolist(), b.row_N.tolist(), strict=True)) for b in batches]
        step(self, batches, augment, iteration)

    handler, logger = logging.Handler(), logging.getLogger("fecnet.runs.training")
    handler.emit = lambda record: told.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    Stepper.step = step_and_note
    try:
        with batch_norms_frozen():
            plain = (*PLAIN, "SOLVER.EMA_DECAY", 0, "SOLVER.SCHEDULE", "constant", "SOLVER.LENGTH", length)
            plain += ("SOLVER.GRAD_ACCUM_STEPS", 1)
            assert train(recipe, *plain, "NAME", f"of-{os.environ['PARTS']}", resume="auto") == 0
    finally:
        Stepper.step = step
        logger.removeHandler(handler)
    return seen, [line.split(": ", 1)[1] for line in told if "saved by" in line]


def batches(ranks):
    """The rows of each global batch in their places, whoever had them, by iteration."""
    found = {}
    for seen, _ in ranks:
        for iteration, shares in seen.items():
            found.setdefault(iteration, []).extend(pair for share in shares for pair in share)
    return {iteration: sorted(pairs) for iteration, pairs in found.items()}


def test_three_processes_become_two_and_then_four(recipe, monkeypatch):
    """The launcher's store stays, as torchrun's does: what ranks of before wrote there is still in it."""
    for name, value in {"PARTS": "one", "RANK": "0", "TORCHELASTIC_RESTART_COUNT": "0"}.items():
        monkeypatch.setenv(name, value)
    whole = batches([part(recipe, 6)])
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "PARTS": "many", "FECNET_TIMEOUT_S": "30"}
    found = {}
    for world_size, length, before in ((3, 2, 0), (2, 4, 3), (4, 6, 2)):
        ranks = run_ranks(world_size, part, recipe, length, join=False, port=store.port, environment=agent)
        found |= batches(ranks)
        same = "the same global batches of 7, updates equal within rounding"
        assert ranks[0][1] == (
            [f"saved by {before} process(es), continues with {world_size}: {same}"] if before else []
        )
    assert found == whole and len(whole) == 6
    one, many = (find_checkpoint(run_folder(recipe, f"of-{name}"), "last") for name in ("one", "many"))
    left, right = (load_file(checkpoint / "model.safetensors") for checkpoint in (one, many))
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-5, atol=1e-6)
    tables = [json.loads((checkpoint / "meta.json").read_text())["accuracy"] for checkpoint in (one, many)]
    assert tables[0] == tables[1]


def goes_wrong(recipe):
    """What is raised on this rank: a loss that is not finite, a disk that fails, other data, other settings."""
    said = []

    def run(*overrides, resume=""):
        try:
            said.append(train(recipe, *overrides, resume=resume))
        except ValueError as error:
            said.append(str(error))

    forward, calls = TripletCriterion.forward, []

    def poisoned(self, out, batch):
        calls.append(1)
        factor = float("nan") if comm.rank() == 1 and len(calls) == 3 else 1.0
        return {name: total * factor for name, total in forward(self, out, batch).items()}

    TripletCriterion.forward = poisoned
    run("SOLVER.GRAD_ACCUM_STEPS", 1, "NAME", "poisoned")
    TripletCriterion.forward = forward
    run("NAME", "unwritable")
    run("NAME", "poisoned", "SOLVER.GRAD_ACCUM_STEPS", 1, resume="auto")
    return said


def test_what_goes_wrong_on_one_rank_is_raised_on_all(recipe):
    (run_folder(recipe, "unwritable") / "checkpoints").parent.mkdir(parents=True)
    folder = run_folder(recipe, "unwritable")
    folder.rmdir()
    folder.write_text("a file where a folder should be")
    ranks = run_ranks(2, goes_wrong, recipe, timeout=100)
    assert ranks[0] == ranks[1]
    poisoned, unwritable, resumed = ranks[0]
    assert poisoned.startswith("iteration 3: the loss or a gradient is not finite")
    assert "Not a directory" in unwritable and "\n" not in unwritable
    assert resumed == 0
    last = find_checkpoint(run_folder(recipe, "poisoned"), "last")
    assert load_trainer(last)["progress"]["iteration"] == 6


def other_settings(recipe):
    try:
        return train(recipe, "SOLVER.BASE_LR", 0.1 * (1 + comm.os.environ["RANK"].count("1")))
    except ValueError as error:
        return str(error)


def test_ranks_with_other_recipes_do_not_start(recipe):
    said = run_ranks(2, other_settings, recipe, join=False)
    assert said[0] == said[1]
    assert said[0].startswith("all ranks must agree: 'SOLVER.BASE_LR' is 0.1 on rank 0 (")
    assert "0.2 on rank 1 (" in said[0]
    assert not (recipe.parent / "result").exists()


def other_data(recipe):
    path = recipe.parent / ("tiny" if comm.os.environ["RANK"] == "0" else "copy") / "tiny"
    os.chdir(path.parent)
    try:
        return train(recipe, "DATA.PATH", "tiny")
    except ValueError as error:
        return str(error)


def test_ranks_with_other_data_do_not_start(recipe, tmp_path):
    from tests.conftest import write_tiny

    (tmp_path / "copy").mkdir()
    write_tiny(tmp_path / "tiny" / "tiny")
    write_tiny(tmp_path / "copy" / "tiny", num_triplets=41)
    said = run_ranks(2, other_data, recipe, join=False)
    assert said[0] == said[1]
    assert said[0].startswith("all ranks must agree: 'tiny: splits.train.triplets.")
    assert "is 13 on rank 0 (" in said[0] and "14 on rank 1 (" in said[0]
