"""Replacing a file or a folder and being killed at any moment: old or new, whole; the next call sweeps."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fecnet.engine.checkpointer import Checkpointer, make_folder
from fecnet.prepare.writer import PackedWriter
from fecnet.utils import files, in_place
from fecnet.utils.files import own_partial, replace_text, whole_or_absent
from fecnet.utils.in_place import make_folders
from tests.checkpoints import describe
from tests.kills import killed_at


def write_folder(path, word):
    with whole_or_absent(path) as folder:
        (folder / "inner").mkdir(parents=True)
        for name in ("a", "b", "inner/c"):
            (folder / name).write_text(word)


def write_file(path, word):
    with whole_or_absent(path) as file:
        file.write_text(word)


def write_set(path, word):
    image_NHWC = np.full((2, 3, 4, 1), ord(word), np.uint8)
    with PackedWriter(path, num_faces=2, height=3, width=4, channels=["grey"], overwrite=True) as writer:
        writer.add_faces(image_NHWC, [{"key": "k", "source": "s"}, {"key": "l", "source": "t"}])


def contents(path):
    if path.is_file():
        return path.read_text()
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


WRITERS = {"folder": write_folder, "file": write_file, "set": write_set, "text": replace_text}


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("kind", WRITERS)
def test_killed_at_any_moment_leaves_old_or_new_whole(tmp_path, monkeypatch, kind, exchanges):
    if not exchanges:  # as of a file system without the call
        monkeypatch.setattr(in_place, "_exchange", lambda *_: False)
    write = WRITERS[kind]
    whole = {}
    for word in "on":
        write(tmp_path / word / "it", word)
        whole[word] = contents(tmp_path / word / "it")
    for number in range(1, 100):
        home = tmp_path / str(number)
        write(home / "it", "o")
        killed = killed_at(number, lambda home=home: write(home / "it", "n"))
        in_place.bring_back(home / "it")
        assert exchanges or not (home / ".it.replaced").exists() or (home / "it").exists()
        assert contents(home / "it") in whole.values()
        write(home / "it", "n")
        assert contents(home / "it") == whole["n"]
        assert [path.name for path in home.iterdir()] == ["it"]
        if not killed:
            break
    assert 2 < number < 60


@pytest.fixture(autouse=True)
def _homes(tmp_path):
    for name in ["o", "n", *map(str, range(100))]:
        (tmp_path / name).mkdir()


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_a_folder_is_never_absent_while_it_is_replaced(tmp_path, monkeypatch):
    """Two renames would be asked for where the exchange is not used."""
    write_folder(tmp_path / "it", "o")
    monkeypatch.setattr(Path, "rename", None)
    write_folder(tmp_path / "it", "n")
    assert contents(tmp_path / "it")["a"] == b"n"


def test_a_set_half_deleted_is_never_brought_back(tmp_path):
    """Killed while the old one is deleted, and the new one then removed by its owner."""
    write_folder(tmp_path / "it", "n")
    write_folder(tmp_path / ".it.replaced", "o")  # killed after the second rename
    in_place.sweep(tmp_path / "it")
    assert not (tmp_path / ".it.replaced").exists()


def saved(folder, iteration, value):
    checkpointer = Checkpointer(folder, keep=1)
    checkpointer.save(
        describe(iteration=iteration), weights={"w": torch.full((3,), value)}, trainer={"a": value}, best=False
    )
    checkpointer.finish()
    checkpointer.close()


def test_every_numbered_checkpoint_is_whole_wherever_a_save_is_killed(tmp_path):
    """Saved again after a resume, and retired: a folder with a number has its description and both files."""
    for number in range(1, 200):
        folder = tmp_path / str(number)
        make_folder(folder)
        saved(folder, 1, 1.0)
        saved(folder, 2, 1.0)
        killed = killed_at(number, lambda folder=folder: (saved(folder, 2, 2.0), saved(folder, 3, 3.0)))
        for checkpoint in folder.iterdir():
            if checkpoint.name.isdigit():
                assert {path.name for path in checkpoint.iterdir()} == {"meta.json", "model.safetensors", "trainer.pt"}
        assert (folder / (folder / "last").read_text().strip()).is_dir()
        make_folder(folder)
        saved(folder, 3, 3.0)
        assert sorted(path.name for path in folder.iterdir()) == ["3", "last"]
        if not killed:
            break
    assert number < 199


def test_the_names_of_folders_that_are_made_are_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(in_place, "flush_folder", synced.append)
    make_folders(tmp_path / "result" / "run" / "checkpoints")
    assert synced == [tmp_path, tmp_path / "result", tmp_path / "result" / "run"]
    make_folders(tmp_path / "result" / "run")
    assert (tmp_path / "result" / "run" / "checkpoints").is_dir() and len(synced) == 3


def test_two_processes_do_not_write_one_file_at_once(tmp_path):
    with (
        own_partial(tmp_path / "it"),
        pytest.raises(ValueError, match="it: another process is writing it"),
        own_partial(tmp_path / "it"),
    ):
        pass
    with pytest.raises(KeyError), own_partial(tmp_path / "it"):
        raise KeyError
    files.replace_text(tmp_path / "it", "new")
    assert (tmp_path / "it").read_text() == "new"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
