"""Runs that favour triplets that the net gets wrong: resumed exactly, told, and refused where they would mislead."""

import json
import shutil

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.runs.training import train_run
from tests.data.sets import change_arrays
from tests.runs.test_train_run import assert_same_run, run_folder

EVERYTHING_ON = (
    *("DATA.HARD_TRIPLETS", 0.4, "DATA.TRIPLET_GROUP_SIZE", 3, "SOLVER.GRAD_ACCUM_STEPS", 2, "SOLVER.EMA_DECAY", 0.9),
    *("SOLVER.BATCH_SIZE", 10, "SOLVER.LENGTH", 10, "SOLVER.SCHEDULE", "constant"),
    *("EVAL.PERIOD", 0, "CHECKPOINT.KEEP", 0),
)
EPOCH = 4  # iterations: 40 triplets in batches of 10


@pytest.fixture
def agreed(tiny):
    """The tiny set, whose raters are nowhere split."""
    change_arrays(tiny / "triplets" / "train.npz", votes=np.zeros_like)
    return tiny


def train(recipe, *overrides, resume=""):
    options = [str(item) for item in (*EVERYTHING_ON, *overrides)]
    return train_run(load_config(recipe, options), recipe="tiny", resume=resume)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_draws_the_same_and_says_what_is_wrong(recipe, agreed):
    assert train(recipe, "NAME", "whole") == 0
    whole = run_folder(recipe, "whole")
    found = [line for line in metrics(whole) if "wrong_triplets" in line]
    assert [line["iteration"] for line in found] == [EPOCH, 2 * EPOCH]
    assert all(line["wrong_triplets"] > 30 and line["hard_draws"] == pytest.approx(40) for line in found)
    favoured = [load_trainer(whole / "checkpoints" / str(number)) for number in (2, 4, 6, 8, 10)]
    favoured = [state["hard_triplets"]["favoured_T"] for state in favoured]
    assert not favoured[0].any() and favoured[1].any()
    assert torch.equal(favoured[1], favoured[2]) and torch.equal(favoured[3], favoured[4])
    for iteration in (EPOCH, EPOCH + 2):  # where it has just been found, and in the middle of an epoch
        parts = run_folder(recipe, f"parts{iteration}")
        shutil.copytree(whole, parts)
        for later in range(iteration + 2, 11, 2):
            shutil.rmtree(parts / "checkpoints" / str(later))
        (parts / "checkpoints" / "last").write_text(f"{iteration}\n")
        assert train(recipe, "NAME", parts.name, resume=str(parts)) == 0
        assert_same_run(whole, parts)

    assert train(recipe, "NAME", "off", "DATA.HARD_TRIPLETS", 0, "SOLVER.LENGTH", 6) == 0
    losses = [
        [line["loss"] for line in metrics(run_folder(recipe, name)) if "loss" in line] for name in ("whole", "off")
    ]
    assert losses[0][:2] == losses[1][:2] and losses[0][2] != losses[1][2]  # up to iteration 4, and in 5 and 6
    assert "hard_triplets" not in load_trainer(find_checkpoint(run_folder(recipe, "off"), "last"))

    file = whole / "checkpoints" / "10" / "trainer.pt"
    state = load_trainer(file.parent)
    for damage, said in (
        ({"favoured_T": torch.zeros(3, dtype=torch.bool)}, r"'favoured_T' is bool of shape \(3,\); allowed: bool of"),
        ({}, "does not fit this run: "),
    ):
        torch.save(state | {"hard_triplets": damage}, file)
        with pytest.raises(ValueError, match=said) as error:
            train(recipe, "NAME", "whole", "SOLVER.LENGTH", 14, resume=str(whole))
        assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("LOSS.CRITERIA", "[choice]"), r"LOSS\.CRITERIA \['choice'\] learns probabilities of the raters' choices"),
        (("SOLVER.LENGTH", EPOCH), r"after each epoch of 4 iterations, and the training has 4; allowed here: 0, or a"),
    ],
)
def test_what_would_mislead_or_do_nothing_is_refused_before_anything_is_written(recipe, agreed, options, said):
    with pytest.raises(ValueError, match=rf"^DATA\.HARD_TRIPLETS: 0\.4, but .*{said}") as error:
        train(recipe, *options)
    assert "\n" not in str(error.value) and not run_folder(recipe).parent.exists()
