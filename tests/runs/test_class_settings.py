"""Settings and labels that no classifier can be trained with are named before anything is written."""

import numpy as np
import pytest

from fecnet.config.node import load_config
from fecnet.runs.training import train_run
from tests.classes import CLASSES, write_labelled, write_recipe


def train(recipe, *overrides):
    return train_run(load_config(recipe, [str(item) for item in overrides]), recipe=recipe.stem)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (("DATA.LABELS", ""), r"DATA\.LABELS: empty, but LOSS\.CRITERIA needs labels; .*moods has: mood, tone"),
        (("DATA.LABELS", "age"), r"no label set 'age'; there are: mood, tone; to make one, see: fecnet prepare"),
        (("MODEL.HEAD", "embedding"), r"MODEL\.HEAD: 'embedding' gives embedding; .* allowed here: classifier"),
        (("MODEL.HEAD", "joint"), r"MODEL\.HEAD: 'joint' gives embedding, logits"),
        (("LOSS.WEIGHTS", "[1, 2]"), r"LOSS\.WEIGHTS: 2 numbers for 1 of LOSS\.CRITERIA"),
        (
            ("LOSS.CRITERIA", "[scn]", "MODEL.HEAD", "scn"),
            r"\['scn'\] trains no classes; scn also needs one of: cross",
        ),
        (
            ("LOSS.CCC", "true"),
            r"LOSS\.CCC: True is not used by .* cross_entropy; it is an option of valence_arousal; allowed here: False",
        ),
        (
            ("LOSS.SCN_RELABEL_AFTER", 1),
            r"LOSS\.SCN_RELABEL_AFTER: 1\.0 is not used by .* it is an option of scn; allowed here: 0\.0",
        ),
        (("LOSS.CRITERIA", "[ran]"), r"LOSS\.CRITERIA: \['ran'\] reads neither triplets nor labels"),
        (("LOSS.CRITERIA", "[hinge]"), r"LOSS\.CRITERIA: unknown name 'hinge'; allowed: choice, cross_entropy"),
        (("LOSS.CLASS_WEIGHTS", "some"), r"LOSS\.CLASS_WEIGHTS: unknown name 'some'; allowed: balanced, none, sqrt"),
        (("LOSS.CRITERIA", "[valence_arousal]"), r"MODEL\.HEAD: .* reads valence_arousal; allowed here: affect"),
        (("SOLVER.BATCH_SIZE", 1), r"SOLVER\.BATCH_SIZE: leaves a micro-batch of one face"),
        (("SOLVER.GRAD_ACCUM_STEPS", 8), r"SOLVER\.BATCH_SIZE: leaves a micro-batch of one face"),
        (("SOLVER.BATCH_SIZE", 99), r"SOLVER\.BATCH_SIZE: 99 for 35 labelled faces; allowed: 1\.\.35"),
        (
            ("EVAL.BEST_METRIC", "triplet_accuracy"),
            r"EVAL\.BEST_METRIC: unknown name 'triplet_accuracy'; allowed: accuracy",
        ),
        (
            ("EVAL.BEST_METRIC", "last", "SOLVER.SCHEDULE", "plateau"),
            r"EVAL\.BEST_METRIC: 'last' leaves the plateau schedule",
        ),
        (("DATA.HOLD_OUT", 0.2), r"DATA\.EVAL_SPLITS: \['val'\] lacks 'hold_out'"),
        (
            ("DATA.HOLD_OUT", 1.5, "DATA.EVAL_SPLITS", "[hold_out]"),
            r"'DATA\.HOLD_OUT': 1\.5; allowed: 0 or more, below 1",
        ),
        (("DATA.EVAL_SPLITS", "[hold_out]"), r"split 'hold_out': DATA\.HOLD_OUT is 0"),
        (("DATA.EVAL_SPLITS", "[dev]"), r"no split 'dev' in label set 'mood'; there are: test, train, val"),
        (("DATA.TRAIN_MIN_VOTE_SHARE", 0.8), r"no face is left in split 'train' of 'mood'"),
    ],
)
def test_nothing_is_written_when_settings_are_wrong(tmp_path, mistake, said):
    recipe = write_recipe(tmp_path, "classifier")
    with pytest.raises(ValueError, match=said) as error:
        train(recipe, *mistake)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "result").exists()


def test_hold_out_and_balanced_classes_need_batches_of_labelled_faces(tmp_path):
    recipe = write_recipe(tmp_path, "joint")
    with pytest.raises(
        ValueError, match=r"DATA\.HOLD_OUT: 0\.2; allowed with triplets and labels: 0, .*--hold-out-subjects$"
    ):
        train(recipe, "DATA.HOLD_OUT", 0.2, "DATA.EVAL_SPLITS", "[hold_out]")
    with pytest.raises(ValueError, match=r"DATA\.BALANCE_CLASSES: true, but batches are made of triplets"):
        train(recipe, "DATA.BALANCE_CLASSES", "true")


def test_a_set_without_votes_says_which_has_them(tmp_path):
    write_labelled(tmp_path / "moods", votes=False)
    with pytest.raises(
        ValueError,
        match=r"'mood', split 'train': the labels have no 'distribution'; sets that have: fecnet prepare ferplus",
    ):
        train(write_recipe(tmp_path, "votes"))
    with pytest.raises(ValueError, match=r"no votes, which DATA\.TRAIN_MIN_VOTE_SHARE .* fecnet prepare ferplus"):
        train(write_recipe(tmp_path, "classifier"), "DATA.TRAIN_MIN_VOTE_SHARE", 0.5)


def test_a_class_without_a_face_to_learn_from_is_named(tmp_path):
    write_labelled(tmp_path / "moods", classes=(*CLASSES, "proud"))
    recipe = write_recipe(tmp_path, "classifier")
    with pytest.raises(ValueError, match=r"'mood', split 'train': no training face for the class 'proud' \(1 of 4"):
        train(recipe)


def test_a_label_outside_the_classes_is_named(tmp_path):
    path = write_labelled(tmp_path / "moods") / "labels" / "mood" / "train.npz"
    arrays = dict(np.load(path))
    arrays["label"][5] = 3
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"mood/train\.npz: place 5: 'label' is 3; allowed: -1\.\.2"):
        train(write_recipe(tmp_path, "classifier"))
