"""Saving beside training: what is written is what was when it was asked for, and all of it or nothing."""

import json
import os
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file

from fecnet.config.node import load_config
from fecnet.engine import checkpointer as module
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import Checkpointer, make_folder
from fecnet.engine.stepper import Stepper
from fecnet.runs.training import train_run
from fecnet.utils import files
from tests.checkpoints import describe
from tests.conftest import write_tiny
from tests.runs.test_train_run import assert_same_run, run_folder, train


@pytest.fixture
def held(monkeypatch):
    """Writing waits until this event is set; ``begun`` says that it has begun."""
    event, begun, real = threading.Event(), threading.Event(), files.write_bytes

    def write_bytes(path, data):
        begun.set()
        assert event.wait(20)
        real(path, data)

    monkeypatch.setattr(module, "write_bytes", write_bytes)
    event.begun = begun
    return event


def save(checkpointer, iteration, tensor, best=False):
    trainer = {"state": {0: {"step": tensor, "betas": (0.9, [tensor])}}}
    checkpointer.save(describe(iteration=iteration), weights={"w": tensor}, trainer=trainer, best=best)


def test_updates_after_the_call_do_not_reach_the_checkpoint(tmp_path, held):
    make_folder(tmp_path)
    checkpointer, tensor = Checkpointer(tmp_path, keep=0), torch.arange(6.0).view(2, 3).t()
    before = tensor.clone()
    save(checkpointer, 1, tensor)
    assert not (tmp_path / "1").exists()  # the call came back before anything was written
    tensor.zero_()
    held.set()
    checkpointer.finish()
    assert torch.equal(load_file(tmp_path / "1" / "model.safetensors")["w"], before)
    state = torch.load(tmp_path / "1" / "trainer.pt", weights_only=True)["state"][0]
    assert torch.equal(state["step"], before) and torch.equal(state["betas"][1][0], before)
    checkpointer.close()


def test_last_names_a_whole_checkpoint_and_a_save_waits_for_the_one_before(tmp_path, held):
    make_folder(tmp_path)
    checkpointer = Checkpointer(tmp_path, keep=0)
    save(checkpointer, 1, torch.ones(2))
    assert held.begun.wait(20)
    assert not (tmp_path / "last").exists()
    second = threading.Thread(target=save, args=(checkpointer, 2, torch.ones(2)))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    held.set()
    second.join(20)
    assert (tmp_path / "last").read_text() in ("1\n", "2\n")
    checkpointer.close()
    assert (tmp_path / "last").read_text() == "2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "last"]


def test_an_error_of_the_thread_is_raised_at_the_next_save_or_at_the_end(tmp_path, monkeypatch):
    make_folder(tmp_path)
    checkpointer = Checkpointer(tmp_path, keep=0)
    save(checkpointer, 1, torch.ones(2))
    checkpointer.finish()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_bytes", full)
    save(checkpointer, 2, torch.ones(2))
    with pytest.raises(ValueError, match="2: not saved: No space left on device"):
        save(checkpointer, 3, torch.ones(2))
    save(checkpointer, 4, torch.ones(2))
    with pytest.raises(ValueError, match="4: not saved"):
        checkpointer.finish()
    checkpointer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "last"]


def test_a_later_checkpoint_left_by_a_killed_run_does_not_push_out_the_last_one(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "6").mkdir()  # whole, but the process was killed before ``last`` named it
    checkpointer = Checkpointer(tmp_path, keep=1)
    save(checkpointer, 4, torch.ones(2))
    save(checkpointer, 5, torch.ones(2))
    checkpointer.close()
    assert (tmp_path / "last").read_text() == "5\n"
    assert (tmp_path / "5").is_dir() and not (tmp_path / "4").exists()


@pytest.mark.parametrize("moments", ["update", "writing", "both"])
def test_signals_while_saving_leave_one_whole_checkpoint(recipe, monkeypatch, moments):
    """One signal or two, at the update or while files are written: the run leaves once, with what it had."""
    step, real = Stepper.step, files.write_bytes

    def step_then_signal(self, batches, augment, iteration):
        step(self, batches, augment, iteration)
        if iteration == 3 and moments in ("update", "both"):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    def write_then_signal(path, data):
        real(path, data)
        if moments in ("writing", "both"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Stepper, "step", step_then_signal)
    monkeypatch.setattr(module, "write_bytes", write_then_signal)
    assert train(recipe, "NAME", "parts", "CHECKPOINT.KEEP", 0) == 128 + signal.SIGTERM
    monkeypatch.undo()
    folder = run_folder(recipe, "parts") / "checkpoints"
    last = find_checkpoint(folder.parent, "last")
    assert sorted(path.name for path in last.iterdir()) == ["meta.json", "model.safetensors", "trainer.pt"]
    assert not list(folder.glob(".*"))
    assert train(recipe, "NAME", "parts", "CHECKPOINT.KEEP", 0, resume="auto") == 0
    assert train(recipe, "NAME", "whole", "CHECKPOINT.KEEP", 0) == 0
    assert_same_run(run_folder(recipe, "whole"), run_folder(recipe, "parts"))


def test_a_run_killed_before_its_first_checkpoint_starts_over(recipe):
    folder = run_folder(recipe, "early")
    (folder / "checkpoints" / "2").mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    (folder / "metrics.jsonl").write_text('{"iteration": 2, "loss": 1.0}\n')
    with pytest.raises(ValueError, match="holds another run"):
        train(recipe, "NAME", "early")
    assert train(recipe, "NAME", "early", resume="auto") == 0
    assert train(recipe, "NAME", "whole") == 0
    assert_same_run(run_folder(recipe, "whole"), folder)
    (run_folder(recipe, "foreign")).mkdir()
    (run_folder(recipe, "foreign") / "thesis.txt").write_text("not a run")
    with pytest.raises(ValueError, match="holds another run"):
        train(recipe, "NAME", "foreign", resume="auto")


def test_a_folder_that_cannot_be_written_is_one_line(recipe, monkeypatch):
    def read_only(path, text):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "replace_text", read_only)
    with pytest.raises(ValueError) as error:
        train(recipe)
    assert str(error.value) == (
        f"{run_folder(recipe)}/checkpoints: checkpoints cannot be written here: Read-only file system"
    )


def test_resume_with_other_data_is_refused(recipe, tmp_path):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    (tmp_path / "tiny").rename(tmp_path / "moved")
    assert train(recipe, "SOLVER.LENGTH", 2, "DATA.PATH", tmp_path / "moved", resume="auto") == 0
    write_tiny(tmp_path / "other", num_faces=61, num_triplets=41)
    with pytest.raises(ValueError) as error:
        train(recipe, "SOLVER.LENGTH", 3, "DATA.PATH", tmp_path / "other", resume="auto")
    said = f"cannot resume with other data: 'num_faces' of the data set is 60 there, 61 in {tmp_path / 'other'}"
    assert str(error.value) == f"{run_folder(recipe)}/checkpoints/2: {said}"
    description = json.loads((tmp_path / "moved" / "dataset.json").read_text())
    description["sources"] = {"random": "sha256 of something else"}
    (tmp_path / "moved" / "dataset.json").write_text(json.dumps(description))
    meta = find_checkpoint(run_folder(recipe), "last") / "meta.json"
    held = json.loads(meta.read_text())
    held["data"]["sources"] = {"random": "sha256"}
    meta.write_text(json.dumps(held))
    with pytest.raises(ValueError, match=r"'sources\.random' of the data set is 'sha256' there, 'sha256 of something"):
        train(recipe, "SOLVER.LENGTH", 3, "DATA.PATH", tmp_path / "moved", resume="auto")


def test_resume_of_another_architecture_is_refused(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    meta = find_checkpoint(run_folder(recipe), "last") / "meta.json"
    held = json.loads(meta.read_text())
    held["config"]["MODEL"]["NECK"] = "conv3x3"
    meta.write_text(json.dumps(held))
    cfg = load_config(recipe, ["SOLVER.LENGTH", "2", "MODEL.NECK", "conv3x3"])
    with pytest.raises(ValueError, match=r"of another architecture: lacks neck"):
        train_run(cfg, recipe="tiny", resume="auto")


def test_sync_bn_needs_gpus_and_keeps_the_names(recipe):
    with pytest.raises(ValueError, match=r"SOLVER\.SYNC_BN: true needs GPUs, this run is on cpu; allowed here: false"):
        train(recipe, "SOLVER.SYNC_BN", "true")
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    names = list(net.state_dict())
    assert list(torch.nn.SyncBatchNorm.convert_sync_batchnorm(net).state_dict()) == names
