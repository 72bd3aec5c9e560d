"""Weights that are no numbers are refused where they are read, and so is an output that is none."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.modeling.weight_files import read_state_dicts
from tests.net_fixtures import run  # noqa: F401  (a fixture)


@pytest.fixture
def weights(run):  # noqa: F811  (the fixture)
    """The file of a checkpoint; it is whole again afterwards."""
    file = find_checkpoint(run, "last") / "model.safetensors"
    before = file.read_bytes()
    yield file
    file.write_bytes(before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_with_file_and_name(weights, value):
    state = load_file(weights)
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    state[name].view(-1)[3] = value
    save_file(state, weights)
    with pytest.raises(ValueError) as error:
        open_saved_net(weights.parent)
    assert str(error.value).startswith(f"{weights}: {name} has values that are not finite")


def test_weights_of_whole_numbers_are_refused(weights):
    state = load_file(weights)
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    save_file(state | {name: state[name].mul(100).to(torch.int8)}, weights)
    with pytest.raises(ValueError, match=f"{name} is int8, as of a quantised"):
        open_saved_net(weights.parent)


def test_weights_that_torch_cannot_map_are_one_line_with_the_file(weights, monkeypatch):
    def unmapped(*_, **__):
        raise RuntimeError("unable to open file <model.safetensors> in read-only mode: Input/output error (5)")

    monkeypatch.setattr("safetensors.torch.load_file", unmapped)
    monkeypatch.setattr("fecnet.modeling.weight_files.load_file", unmapped)
    for read in (lambda: open_saved_net(weights.parent), lambda: read_state_dicts(weights)):
        with pytest.raises(ValueError, match=r"unreadable.*Input/output error") as error:
            read()
        assert str(error.value).startswith(f"{weights}: ")
