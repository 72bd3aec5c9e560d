"""The compiled loop: one graph without breaks, never compiled again; and where nothing can be compiled."""

from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters

from fecnet.config.node import load_config
from fecnet.training import train_run
from tests.classes import write_recipe

COMPILED = ("SOLVER.COMPILE", "true", "EVAL.PERIOD", "2")


def train(recipe, *overrides):
    return train_run(load_config(recipe, [*COMPILED, *overrides]), recipe=recipe.stem)


@pytest.mark.parametrize("kind", ["classifier", "joint", "scn"])
def test_one_graph_for_the_whole_training(tmp_path, monkeypatch, kind):
    """Graphs are run as they are, by the backend ``eager``: what is tested is what dynamo makes of the net.

    Batches of triplets differ in size, since faces are shared; below 16 images torch takes another convolution.
    """
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    assert train(write_recipe(tmp_path, kind), "SOLVER.BATCH_SIZE", "12") == 0
    assert counters["stats"]["unique_graphs"] == 2  # the trial before, and the net
    assert not counters["graph_break"]


def test_without_a_compiler_it_goes_on_with_one_line(tmp_path, monkeypatch, capsys):
    def compile_(function):
        def fails(*_):
            raise RuntimeError("no C++ compiler\nat all")

        return fails

    monkeypatch.setattr(torch, "compile", compile_)
    assert train(write_recipe(tmp_path, "classifier"), "SOLVER.LENGTH", "2") == 0
    assert "SOLVER.COMPILE: not possible here, going on without: no C++ compiler at all\n" in capsys.readouterr().out
