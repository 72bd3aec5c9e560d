"""A pipe where a file is expected is refused at once: nothing waits for its other end."""

import os

import pytest
import torch

from fecnet.engine.checkpointer import load_trainer, load_weights
from fecnet.faces.decode import read_photo
from fecnet.utils import rendezvous
from fecnet.utils.files import open_array, read_arrays

READERS = {
    "x.npz": lambda path: read_arrays(path, ("a",), kind="thing"),
    "x.npy": open_array,
    "trainer.pt": lambda path: load_trainer(path.parent),
    "model.safetensors": lambda path: load_weights(path.parent, torch.nn.Identity()),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_no_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: a pipe, a device or a socket; allowed: a file"):
        READERS[name](tmp_path / name)


def test_a_pipe_is_no_photo(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png") == "cannot_open"


def test_a_killed_host_of_the_store_is_not_asked(monkeypatch):
    """Torch would print a page of frames above the one good line."""

    class Store:
        def add(self, *_):
            pytest.fail("asked")

    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rendezvous, "_store", Store())
    assert rendezvous.first_to_report("something")
