"""Classifiers and joint nets on two ranks: equal to one, resumed exactly, the same tables to the last count."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.engine.stepper import Stepper
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from fecnet.utils import comm
from tests.classes import KINDS, write_recipe
from tests.distributed.frozen import batch_norms_frozen
from tests.distributed.ranks import run_ranks
from tests.runs.test_train_run import assert_same_run

# 9 never divides evenly; sgd, since adam divides what is nearly zero by itself and so makes rounding large
PLAIN = ("SOLVER.BATCH_SIZE", 9, "SOLVER.OPTIMIZER", "sgd", "SOLVER.BASE_LR", 0.01, "MODEL.DROPOUT", 0.0)
OPTIONS = {
    "classifier": ("SOLVER.GRAD_ACCUM_STEPS", 2, "DATA.BALANCE_CLASSES", "true", "LOSS.CLASS_WEIGHTS", "balanced"),
    "votes": ("SOLVER.EMA_DECAY", 0.9, "DATA.EXTRA_LABELS", "[tone]", "AUGMENT.MIXUP", 0.4),
    "hellinger": ("SOLVER.GRAD_ACCUM_STEPS", 2, "AUGMENT.CUTMIX", 1.0),
    "joint": (
        *("SOLVER.GRAD_ACCUM_STEPS", 2, "SOLVER.LABELLED_BATCH_SIZE", 5, "AUGMENT.CUTMIX", 1.0),
        *("DATA.HARD_TRIPLETS", 0.5),  # asked for after the 3rd iteration
    ),
    "choice": ("SOLVER.GRAD_ACCUM_STEPS", 2, "DATA.WEIGHT_BY_AGREEMENT", "true"),
    "ran": (),
    "wasserstein": ("LOSS.WASSERSTEIN_COST", "learned"),
    "affect": ("LOSS.CCC", "true"),
    "deviation": ("SOLVER.GRAD_ACCUM_STEPS", 2, "SOLVER.EMA_DECAY", 0.9),
    # every search finds something, so labels change after the 4th iteration
    "scn": ("LOSS.SCN_RELABEL_AFTER", 1, "LOSS.SCN_MARGIN_2", 0.0, "SOLVER.LENGTH", 8),
}


def train(recipe, *overrides, resume=""):
    options = (*PLAIN, *OPTIONS[recipe.stem], *overrides)
    cfg = load_config(recipe, [str(item) for item in options])
    return train_run(cfg, recipe=recipe.stem, resume=resume)


def train_frozen(recipe, name):
    with batch_norms_frozen():
        return train(recipe, "NAME", name)


def run_folder(recipe, name):
    return recipe.parent / "result" / name


def whole_and_parts(recipes):
    """Of each recipe a run, the same one with one rank signalled at iteration 2 and gone on, and one that is frozen."""
    for recipe in recipes:
        name = f"{recipe.stem}-{{}}".format
        assert train(recipe, "NAME", name("whole")) == 0
        step = Stepper.step

        def step_then_signal(self, batches, augment, iteration, step=step):
            step(self, batches, augment, iteration)
            if iteration == 2 and comm.rank() == 1:  # known one later, in the middle of an epoch
                os.kill(os.getpid(), signal.SIGTERM)

        Stepper.step = step_then_signal
        assert train(recipe, "NAME", name("parts")) == 128 + signal.SIGTERM
        Stepper.step = step
        assert train(recipe, "NAME", name("parts"), resume="auto") == 0
        assert train_frozen(recipe, name("many")) == 0
    return [infer_run(str(run_folder(recipe, f"{recipe.stem}-whole"))) for recipe in recipes]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    recipes = [write_recipe(folder, kind) for kind in KINDS]
    tables = run_ranks(2, whole_and_parts, recipes, timeout=200)
    return {recipe.stem: (recipe, [rank[k] for rank in tables]) for k, recipe in enumerate(recipes)}


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_on_two_ranks_equals_uninterrupted(ran, kind):
    recipe, _ = ran[kind]
    assert_same_run(run_folder(recipe, f"{kind}-whole"), run_folder(recipe, f"{kind}-parts"))


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_learn_what_one_learns(ran, kind):
    recipe, _ = ran[kind]
    assert train_frozen(recipe, f"{kind}-one") == 0
    one, many = (find_checkpoint(run_folder(recipe, f"{kind}-{name}"), "last") for name in ("one", "many"))
    left, right = (load_file(checkpoint / "model.safetensors") for checkpoint in (one, many))
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-5, atol=1e-6)
    lines = [(run_folder(recipe, f"{kind}-{name}") / "metrics.jsonl").read_text() for name in ("one", "many")]
    for first, second in zip(*(text.splitlines() for text in lines), strict=True):
        assert json.loads(second) == pytest.approx(json.loads(first), rel=1e-5)
    trainers = [load_trainer(checkpoint) for checkpoint in (one, many)]
    torch.testing.assert_close(trainers[1]["criterion"], trainers[0]["criterion"], rtol=1e-5, atol=1e-6)
    assert (kind == "choice") == ("criteria.1.log_scale" in trainers[0]["criterion"])
    labels = [trainer["labels"] for trainer in trainers]
    assert all(torch.equal(labels[0][name], labels[1][name]) for name in ("row", "label"))
    assert (len(labels[0]["row"]) > 0) == (kind == "scn")
    if kind == "joint":
        left, right = (trainer["hard_triplets"]["favoured_T"] for trainer in trainers)
        assert left.any() and torch.equal(left, right)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_the_same_on_two_ranks_and_on_one(ran, kind):
    recipe, tables = ran[kind]
    alone = infer_run(str(run_folder(recipe, f"{kind}-whole")))
    for found in tables:
        assert found.keys() == alone.keys()
        for name in alone:
            assert found[name]["splits"] == alone[name]["splits"]
    assert kind == "deviation" or sum(alone["classes"]["splits"]["test"]["total"]) == 10
