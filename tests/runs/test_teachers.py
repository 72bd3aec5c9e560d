"""Distillation: the targets are those of a naive mixture, and what does not fit is one line."""

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.build import build_labels
from fecnet.data.packed import PackedDataset
from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.runs.teachers import learn_from_teachers
from fecnet.runs.training import train_run
from tests.classes import write_labelled, write_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe of vote distributions, and two runs of it."""
    folder = tmp_path_factory.mktemp("teachers")
    recipe = write_recipe(folder, "votes")
    for seed in (0, 1):
        train(recipe, "NAME", f"teacher{seed}", "SEED", seed, "SOLVER.BASE_LR", 0.01)
    return folder


def train(recipe, *overrides, resume=""):
    cfg = load_config(recipe, [str(item) for item in overrides])
    assert train_run(cfg, recipe=recipe.stem, resume=resume) == 0


def settings(folder, teachers, *overrides):
    return load_config(folder / "votes.yaml", ["DATA.TEACHERS", f"[{', '.join(map(str, teachers))}]", *overrides])


def probabilities(run, faces_NHWC):
    """The mean over the face and its mirror image, of one net, a face at a time."""
    net, found = open_saved_net(run).net, []
    with torch.inference_mode():
        for face_HWC in faces_NHWC:
            image = torch.from_numpy(np.array(face_HWC)).permute(2, 0, 1)[None].float() / 255
            logits = (net(image)["logits"] + net(image.flip(3))["logits"]) / 2
            found.append(logits.softmax(1)[0].numpy())
    return np.array(found)


def test_targets_are_a_share_of_the_votes_and_of_the_mean_prediction(folder):
    runs = [folder / "result" / f"teacher{seed}" for seed in (0, 1)]
    cfg = settings(folder, runs, "DATA.TEACHER_SHARE", "0.25")
    dataset = PackedDataset(cfg.DATA.PATH)
    labels, before = (build_labels(cfg, dataset, ["distribution"]) for _ in range(2))
    learn_from_teachers(cfg, dataset, labels, torch.device("cpu"))
    rows = torch.from_numpy(labels.rows_M)
    predicted = np.mean([probabilities(run, dataset.faces_NHWC[labels.rows_M]) for run in runs], axis=0)
    votes, mixed = (part.targets(rows)["distribution"].numpy() for part in (before, labels))
    np.testing.assert_allclose(mixed, 0.75 * votes + 0.25 * predicted, atol=1e-5)
    assert np.abs(mixed - votes).max() > 0.01


def test_a_resumed_student_equals_an_uninterrupted_one(folder):
    recipe, teachers = folder / "votes.yaml", ("DATA.TEACHERS", f"[{folder / 'result' / 'teacher0'}]")
    train(recipe, "NAME", "whole", *teachers)
    train(recipe, "NAME", "parts", *teachers, "SOLVER.LENGTH", 4, "SOLVER.SCHEDULE", "constant")
    train(recipe, "NAME", "parts", *teachers, "SOLVER.SCHEDULE", "constant", resume="auto")
    train(recipe, "NAME", "same", *teachers, "SOLVER.SCHEDULE", "constant")
    train(recipe, "NAME", "untaught")
    weights = {
        name: (find_checkpoint(folder / "result" / name, "last") / "model.safetensors").read_bytes()
        for name in ("whole", "parts", "same", "untaught")
    }
    assert weights["parts"] == weights["same"] and weights["whole"] != weights["untaught"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("DATA.TEACHER_SHARE", "0.3"), r"DATA.TEACHER_SHARE: 0.3 is not used without DATA.TEACHERS"),
        (("DATA.TEACHERS", "[a]", "DATA.TEACHER_SHARE", "0.0"), r"DATA.TEACHER_SHARE: 0.0; allowed: above 0"),
        (("DATA.TEACHERS", "[a]", "LOSS.CRITERIA", "[cross_entropy]"), r"DATA.TEACHERS: \['a'\], but LOSS.CRITERIA"),
        (("DATA.TEACHERS", "[/nowhere/a]"), r"/nowhere/a"),
    ],
)
def test_wrong_settings_are_one_line(folder, overrides, said):
    with pytest.raises((ValueError, OSError), match=rf"^[^\n]*{said}[^\n]*$"):
        train(folder / "votes.yaml", "NAME", "never", *overrides)
    assert not (folder / "result" / "never").exists()


def test_a_teacher_of_other_classes_is_refused(folder, tmp_path):
    write_labelled(tmp_path / "other", classes=("one", "two", "three"))
    with pytest.raises(ValueError, match=r"^DATA.TEACHERS: .*teacher0 has the classes calm, glad, cross; here: one, t"):
        train(
            folder / "votes.yaml",
            "DATA.TEACHERS",
            f"[{folder / 'result' / 'teacher0'}]",
            "DATA.PATH",
            tmp_path / "other",
            "NAME",
            "never",
        )
