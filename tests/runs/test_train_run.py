"""Whole runs on a tiny data set: resume is exact, what is wrong is one line, what was saved stays."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.engine.stepper import Stepper
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from fecnet.utils import files


def train(recipe, *overrides, resume=""):
    return train_run(load_config(recipe, [str(item) for item in overrides]), recipe="tiny", resume=resume)


def run_folder(recipe, name="tiny"):
    return recipe.parent / "result" / name


def assert_same(one, other):
    """Two trainer states are equal to the bit, apart from the time they took."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds"}:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def assert_same_run(one, other):
    left, right = find_checkpoint(one, "last"), find_checkpoint(other, "last")
    assert left.name == right.name
    assert (left / "model.safetensors").read_bytes() == (right / "model.safetensors").read_bytes()
    assert_same(load_trainer(left), load_trainer(right))
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for pointer in ("last", "best"):
        assert (one / "checkpoints" / pointer).read_text() == (other / "checkpoints" / pointer).read_text()


EVERYTHING_ON = (
    "MODEL.DROPOUT",
    0.5,
    "SOLVER.EMA_DECAY",
    0.9,
    "SOLVER.GRAD_ACCUM_STEPS",
    2,
    "DATA.WEIGHT_BY_AGREEMENT",
    "true",
)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "nadam"])
def test_interrupted_and_resumed_equals_uninterrupted(recipe, monkeypatch, optimizer, schedule):
    options = (*EVERYTHING_ON, "SOLVER.OPTIMIZER", optimizer, "SOLVER.SCHEDULE", schedule)
    assert train(recipe, *options, "NAME", "whole") == 0
    step = Stepper.step

    def step_then_signal(self, batches, augment, iteration):
        step(self, batches, augment, iteration)
        if iteration == 3:  # between two log lines: the sums so far must be kept too
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Stepper, "step", step_then_signal)
    assert train(recipe, *options, "NAME", "parts") == 128 + signal.SIGTERM
    assert find_checkpoint(run_folder(recipe, "parts"), "last").name == "4"  # signalled in 3: known one later
    monkeypatch.undo()
    assert train(recipe, *options, "NAME", "parts", resume="auto") == 0
    assert_same_run(run_folder(recipe, "whole"), run_folder(recipe, "parts"))


def test_resumed_from_an_older_checkpoint_after_a_crash(recipe):
    """What a killed process leaves behind: later lines in metrics.jsonl, a half-written line, a partial folder."""
    assert train(recipe, "NAME", "whole", "CHECKPOINT.KEEP", 0) == 0
    crashed = run_folder(recipe, "crashed")
    shutil.copytree(run_folder(recipe, "whole"), crashed)
    shutil.rmtree(crashed / "checkpoints" / "6")
    (crashed / "checkpoints" / "last").write_text("4\n")
    (crashed / "checkpoints" / ".6.partial").mkdir()
    with (crashed / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 6, "lo')
    assert train(recipe, "NAME", "crashed", "CHECKPOINT.KEEP", 0, resume=str(crashed)) == 0
    assert_same_run(run_folder(recipe, "whole"), crashed)
    assert not list((crashed / "checkpoints").glob(".*"))


def test_runs_get_their_own_folders(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    assert sorted(path.name for path in run_folder(recipe).parent.iterdir()) == ["tiny", "tiny-2"]
    before = (run_folder(recipe) / "config.yaml").read_bytes()
    with pytest.raises(ValueError, match=r"result/tiny: holds another run; resume it with --resume"):
        train(recipe, "NAME", "tiny", "SEED", 5)
    assert (run_folder(recipe) / "config.yaml").read_bytes() == before


def test_resume_auto_starts_where_there_is_no_run_and_goes_on_where_there_is(recipe):
    assert train(recipe, "SOLVER.LENGTH", 2, resume="auto") == 0
    assert train(recipe, "SOLVER.LENGTH", 4, resume="auto") == 0
    assert [path.name for path in run_folder(recipe).parent.iterdir()] == ["tiny"]
    assert find_checkpoint(run_folder(recipe), "last").name == "4"


def test_resume_auto_takes_the_newest_run_with_these_settings(recipe):
    for seed in (1, 2):
        assert train(recipe, "SOLVER.LENGTH", 1, "SEED", seed) == 0
    assert train(recipe, "SOLVER.LENGTH", 2, "SEED", 1, resume="auto") == 0
    assert train(recipe, "SOLVER.LENGTH", 2, "SEED", 3, resume="auto") == 0
    iterations = {run.name: find_checkpoint(run, "last").name for run in run_folder(recipe).parent.iterdir()}
    assert iterations == {"tiny": "2", "tiny-2": "1", "tiny-3": "2"}


def test_resume_with_other_settings_is_refused(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    with pytest.raises(ValueError) as error:
        train(recipe, "SOLVER.BASE_LR", 0.5, "MODEL.FEATURE_DIM", 8, resume=str(run_folder(recipe)))
    assert "cannot resume with another 'MODEL.FEATURE_DIM': 16 there, 8 given" in str(error.value)
    assert "cannot resume with another 'SOLVER.BASE_LR': 0.001 there, 0.5 given" in str(error.value)


def test_a_loss_that_is_not_finite_stops_with_the_iteration_and_keeps_the_last_good_checkpoint(recipe, monkeypatch):
    from fecnet.modeling.criterion.triplet import TripletCriterion

    forward, calls = TripletCriterion.forward, []

    def poisoned(self, out, batch):
        calls.append(1)
        factor = float("nan") if len(calls) == 3 else 1.0
        return {name: total * factor for name, total in forward(self, out, batch).items()}

    monkeypatch.setattr(TripletCriterion, "forward", poisoned)
    with pytest.raises(ValueError, match="iteration 3: the loss or a gradient is not finite"):
        train(recipe)
    checkpoint = find_checkpoint(run_folder(recipe), "last")
    assert checkpoint.name == "2"
    assert all(torch.isfinite(value).all() for value in load_file(checkpoint / "model.safetensors").values())
    monkeypatch.undo()
    assert train(recipe, resume="auto") == 0


def test_a_full_disk_leaves_the_previous_checkpoint(recipe, monkeypatch):
    import resource

    assert train(recipe, "SOLVER.LENGTH", 2) == 0
    size = max(path.stat().st_size for path in (run_folder(recipe) / "checkpoints" / "2").iterdir())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(
            ValueError, match=r"checkpoints/4: not saved: File too large; earlier checkpoints are intact"
        ):
            train(recipe, resume="auto")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(path.name for path in (run_folder(recipe) / "checkpoints").iterdir()) == ["2", "best", "last"]
    assert train(recipe, resume="auto") == 0


def test_nothing_is_left_when_the_disk_fills_between_files(recipe, monkeypatch):
    assert train(recipe, "SOLVER.LENGTH", 2) == 0
    real = files.write_bytes

    def fails_at_the_last_file(path, data):
        if path.name == "meta.json":
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr("fecnet.engine.checkpointer.write_bytes", fails_at_the_last_file)
    with pytest.raises(ValueError, match="No space left on device"):
        train(recipe, resume="auto")
    monkeypatch.undo()
    infer_run(str(run_folder(recipe)))


def damage(checkpoint, name):
    path = checkpoint / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_damaged_checkpoints_are_named(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    checkpoint = find_checkpoint(run_folder(recipe), "last")
    for name, said in (
        ("trainer.pt", "trainer.pt: unreadable or truncated"),
        ("model.safetensors", "model.safetensors: unreadable, truncated or not safetensors"),
        ("meta.json", "meta.json: not a checkpoint description"),
    ):
        damage(checkpoint, name)
        with pytest.raises(ValueError, match=said):
            train(recipe, resume="auto")


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/fecnet-was-here",))


def test_a_pickle_is_refused(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    checkpoint = find_checkpoint(run_folder(recipe), "last")
    torch.save({"progress": Evil()}, checkpoint / "trainer.pt")
    with pytest.raises(ValueError, match=r"trainer\.pt: holds more than tensors and plain values; not loaded"):
        train(recipe, resume="auto")
    torch.save({"model": Evil()}, checkpoint / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: unreadable, truncated or not safetensors"):
        infer_run(str(checkpoint))
    assert not Path("/tmp/fecnet-was-here").exists()


def test_a_checkpoint_of_another_architecture_is_refused(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    checkpoint = find_checkpoint(run_folder(recipe), "last")
    meta = json.loads((checkpoint / "meta.json").read_text())
    meta["config"]["MODEL"]["NECK"] = "conv3x3"
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r"of another architecture: lacks neck"):
        infer_run(str(checkpoint))


def test_inference_embeds_each_face_once_and_writes_what_it_prints(recipe, capsys):
    assert train(recipe) == 0
    result = infer_run(str(run_folder(recipe)))
    printed = capsys.readouterr().out
    folder = run_folder(recipe) / "evaluation"
    written = json.loads((folder / "triplets.json").read_text())
    assert {"triplets": written} == json.loads(json.dumps(result))
    table = written["splits"]["test"]["fecnet"]
    assert table["ALL"]["total"] == 40
    assert f"{table['ALL']['percent']:.1f}" in printed
    near = written["near_ties"]["test"]
    assert 0 <= near["exact"] <= near["near"] == near["ONE"] + near["TWO"] + near["THREE"] < near["total"] == 40
    assert f"near ties: {near['near'] or 'none'} of 40 triplets" in printed
    assert "faces: read 60, kept 60" in printed
    with np.load(folder / "embeddings.npz") as file:
        assert len(np.unique(file["rows"])) == len(file["rows"]) == written["faces_embedded"] <= 60
        np.testing.assert_allclose(np.linalg.norm(file["embedding"], axis=1), 1, rtol=1e-5)
    assert (folder / "neighbours.png").stat().st_size > 1000
    # in float32 whatever the precision of training, and on other batches the same but for near ties
    again = infer_run(str(run_folder(recipe)), overrides=["SOLVER.PRECISION", "bf16", "EVAL.BATCH_SIZE", "7"])
    other = again["triplets"]["splits"]["test"]["fecnet"]
    assert all(abs(table[row]["right"] - other[row]["right"]) <= near["near"] for row in table)


def test_inference_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match="no run with a checkpoint here"):
        infer_run("", overrides=["OUTPUT_DIR", str(tmp_path)])


def test_pretrained_backbone_is_loaded_reported_and_disclosed(recipe, tmp_path, capsys):
    state = {
        f"module.{name}": value
        for name, value in ResNet18(in_channels=1, width=0.125, blocks=(1, 1)).state_dict().items()
    }
    torch.save(state, tmp_path / "faces.pt")
    options = ("MODEL.PRETRAINED", tmp_path / "faces.pt", "MODEL.FREEZE_BACKBONE", "true", "SOLVER.LENGTH", 2)
    with pytest.raises(ValueError, match=r"MODEL\.PRETRAINED_ON: empty"):
        train(recipe, *options)
    assert train(recipe, *options, "MODEL.PRETRAINED_ON", "random faces") == 0
    assert "loaded" in capsys.readouterr().out
    checkpoint = find_checkpoint(run_folder(recipe), "last")
    saved = load_file(checkpoint / "model.safetensors")
    for name, value in state.items():  # frozen: weights and batch-norm statistics are those of the file
        assert torch.equal(saved[name.replace("module.", "backbone.")], value)
    assert json.loads((checkpoint / "meta.json").read_text())["pretraining"] == "random faces"
    (tmp_path / "faces.pt").unlink()  # neither resuming nor measuring needs the file again
    assert train(recipe, *options, "MODEL.PRETRAINED_ON", "random faces", "SOLVER.LENGTH", 3, resume="auto") == 0
    infer_run(str(run_folder(recipe)))


@pytest.mark.parametrize(
    "mistake",
    [
        ("SOLVER.OPTIMIZER", "adm"),
        ("SOLVER.BATCH_SIZE", 1000),
        ("SOLVER.GRAD_ACCUM_STEPS", 0),
        ("SOLVER.UNIT", "hours"),
        ("SOLVER.PRECISION", "fp8"),
        ("AUGMENT.FLIP", 2.0),
        ("DATA.EVAL_SPLITS", "[absent]"),
        ("LOSS.MARGIN_ONE_CLASS", -1.0),
    ],
)
def test_nothing_is_written_when_settings_are_wrong(recipe, mistake):
    with pytest.raises(ValueError, match=r"allowed|there are"):
        train(recipe, *mistake)
    assert not run_folder(recipe).parent.exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("meta.json", '{"format": 1}', "meta.json: lacks 'iteration'; allowed: a whole number"),
        ("trainer.pt", {"something": 1}, "trainer.pt: not a trainer's state"),
    ],
)
def test_foreign_files_in_a_checkpoint_are_named(recipe, file, content, said):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    checkpoint = find_checkpoint(run_folder(recipe), "last")
    if isinstance(content, str):
        (checkpoint / file).write_text(content)
    else:
        torch.save(content, checkpoint / file)
    with pytest.raises(ValueError, match=said):
        train(recipe, resume=str(run_folder(recipe)))


def test_going_back_to_an_older_checkpoint_never_loses_the_last(recipe):
    """Later checkpoints lie there still; retention must not take them for the latest."""
    assert train(recipe, "CHECKPOINT.KEEP", 0, "CHECKPOINT.PERIOD", 1) == 0
    run = run_folder(recipe)
    older = str(run / "checkpoints" / "2")
    options = ("NAME", "tiny", "CHECKPOINT.KEEP", 1, "CHECKPOINT.PERIOD", 1, "EVAL.PERIOD", 0, "SOLVER.LENGTH", 4)
    assert train(recipe, *options, resume=older) == 0
    assert find_checkpoint(run, "last").name == "4"
    assert find_checkpoint(run, "last").is_dir()
    infer_run(str(run), checkpoint="last")


def test_a_checkpoint_that_lies_alone_is_measured_where_it_lies(recipe, tmp_path):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    alone = tmp_path / "alone" / "best"
    shutil.copytree(find_checkpoint(run_folder(recipe), "last"), alone)
    infer_run(str(alone))
    assert (alone / "evaluation" / "triplets.json").is_file()
    with pytest.raises(ValueError, match="not inside a run"):
        train(recipe, resume=str(alone))


def test_weights_that_are_not_finite_are_never_saved(recipe, monkeypatch):
    """A batch-norm statistic can overflow where no gradient does."""
    step = Stepper.step

    def step_then_spoil(self, batches, augment, iteration):
        step(self, batches, augment, iteration)
        if iteration == 4:
            self.model.backbone.bn1.running_var.fill_(float("inf"))

    monkeypatch.setattr(Stepper, "step", step_then_spoil)
    with pytest.raises(ValueError, match=r"4: not saved: backbone\.bn1\.running_var is not finite"):
        train(recipe, "EVAL.PERIOD", 0)
    assert find_checkpoint(run_folder(recipe), "last").name == "2"


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_precisions_and_memory_formats_train(recipe, precision, channels_last):
    assert train(recipe, "SOLVER.LENGTH", 2, "SOLVER.PRECISION", precision, "SOLVER.CHANNELS_LAST", channels_last) == 0


@pytest.mark.parametrize("backbone", ["inception_nn2", "inception_resnet_v1"])
def test_other_backbones_train_and_are_measured(recipe, backbone):
    options = (
        "MODEL.BACKBONE",
        backbone,
        "MODEL.WIDTH_MULT",
        1.0,
        "MODEL.BLOCKS",
        [2, 2, 2, 2],
        "SOLVER.LENGTH",
        1,
        "SOLVER.BATCH_SIZE",
        3,
    )
    assert train(recipe, *options) == 0
    infer_run(str(run_folder(recipe)))
