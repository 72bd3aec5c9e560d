"""The compiled loop: one graph without breaks, never compiled again; and where nothing can be compiled."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.runs import training
from fecnet.runs.training import train_run
from fecnet.utils.env import why_no_compile
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
    assert "SOLVER.COMPILE: not possible here, continuing without: no C++ compiler at all\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("SOLVER.COMPILE", "false"), "SOLVER.COMPILE true"),
        ((), "a GPU, and this run is on cpu"),
    ],
)
def test_cuda_graphs_are_refused_where_they_cannot_be(tmp_path, options, wanted):
    recipe = write_recipe(tmp_path, "classifier")
    with pytest.raises(ValueError, match=rf"^SOLVER\.CUDA_GRAPHS: true needs {wanted}; allowed here: false$"):
        train(recipe, "SOLVER.CUDA_GRAPHS", "true", *options)


def test_accumulated_gradients_are_not_left_in_a_graph(monkeypatch):
    monkeypatch.setattr(training, "why_no_compile", lambda device: "")
    graphs = [*COMPILED, "SOLVER.CUDA_GRAPHS", "true"]
    assert training._compile_mode(load_config(None, graphs), torch.device("cuda")) == "reduce-overhead"
    with pytest.raises(ValueError, match=r"needs SOLVER\.GRAD_ACCUM_STEPS 1; allowed here: false$"):
        training._compile_mode(load_config(None, [*graphs, "SOLVER.GRAD_ACCUM_STEPS", "2"]), torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["classifier", "joint"])
def test_cuda_graphs_train_the_same(tmp_path, kind):
    """A size of batch is looked at, then recorded, then replayed: so many iterations that most are replayed."""
    options = ("SOLVER.LENGTH", "40", "SOLVER.BATCH_SIZE", "12", "SOLVER.PRECISION", "fp32", "DEVICE", "cuda")
    assert not why_no_compile(torch.device("cuda"))
    torch._dynamo.reset()
    weights = []
    for name, graphs in (("with", "true"), ("without", "false")):
        counters.clear()
        assert train(write_recipe(tmp_path, kind), *options, "SOLVER.CUDA_GRAPHS", graphs, "NAME", name) == 0
        assert not counters["inductor"]["cudagraph_skips"]
        recorded = torch._inductor.cudagraph_trees.get_manager(0, create_if_none_exists=False)
        assert recorded is not None  # of the first run
        weights.append(load_file(find_checkpoint(tmp_path / "result" / name, "last") / "model.safetensors"))
    torch.testing.assert_close(*weights, rtol=1e-2, atol=1e-3)
