"""Whole runs of classifiers and joint nets: resume is exact, tables are written, what is wrong is one line."""

import json
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import inference
import train as train_script
from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.checkpointer import load_trainer
from fecnet.engine.description import Selection
from fecnet.engine.stepper import Stepper
from fecnet.evaluation.drawing import can_plot
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.runs.inference import infer_run
from fecnet.runs.listing import describe_run, find_runs
from fecnet.runs.training import train_run
from tests.classes import CLASSES, KINDS, write_labelled, write_recipe
from tests.conftest import ROOT
from tests.runs.test_train_run import assert_same_run


def train(recipe, *overrides, resume=""):
    return train_run(load_config(recipe, [str(item) for item in overrides]), recipe=recipe.stem, resume=resume)


def run_folder(recipe, name):
    return recipe.parent / "result" / name


EVERYTHING_ON = {
    "classifier": ("DATA.BALANCE_CLASSES", "true", "LOSS.CLASS_WEIGHTS", "sqrt", "LOSS.LABEL_SMOOTHING", 0.1),
    "votes": ("AUGMENT.MIXUP", 0.4),
    "hellinger": ("AUGMENT.CUTMIX", 1.0),
    "joint": (
        *("SOLVER.GRAD_ACCUM_STEPS", 2, "SOLVER.EMA_DECAY", 0.9, "DATA.EXTRA_LABELS", "[tone]"),
        *("SOLVER.LABELLED_BATCH_SIZE", 5, "AUGMENT.CUTMIX", 1.0, "DATA.HARD_TRIPLETS", 0.5),
    ),
    "choice": ("SOLVER.GRAD_ACCUM_STEPS", 2, "SOLVER.EMA_DECAY", 0.9),
    "ran": (),
    "wasserstein": ("LOSS.WASSERSTEIN_COST", "learned"),
    "affect": (),
    "deviation": ("SOLVER.GRAD_ACCUM_STEPS", 2, "SOLVER.EMA_DECAY", 0.9, "MODEL.DROPOUT", 0.5),
    # every search finds something, so labels change after the 5th iteration
    "scn": ("LOSS.SCN_RELABEL_AFTER", 1, "LOSS.SCN_MARGIN_2", 0.0, "SOLVER.LENGTH", 8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, kind):
    recipe = write_recipe(tmp_path, kind)
    options = EVERYTHING_ON[kind]
    assert train(recipe, *options, "NAME", "whole") == 0
    step = Stepper.step

    def step_then_signal(self, batches, augment, iteration):
        step(self, batches, augment, iteration)
        if iteration == 2:  # known one later: in the middle of an epoch and between two log lines
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Stepper, "step", step_then_signal)
    assert train(recipe, *options, "NAME", "parts") == 128 + signal.SIGTERM
    monkeypatch.undo()
    assert train(recipe, *options, "NAME", "parts", resume="auto") == 0
    assert_same_run(run_folder(recipe, "whole"), run_folder(recipe, "parts"))
    if kind == "scn":
        labels = load_trainer(find_checkpoint(run_folder(recipe, "whole"), "last"))["labels"]
        assert len(labels["row"]) > 0  # else nothing was tested
    if kind == "joint":
        hard = load_trainer(find_checkpoint(run_folder(recipe, "whole"), "last"))["hard_triplets"]
        assert hard["favoured_T"].any()


def test_a_run_after_relabelling_goes_on_as_it_was(tmp_path):
    recipe = write_recipe(tmp_path, "scn")
    options = (*EVERYTHING_ON["scn"], "CHECKPOINT.KEEP", 0, "CHECKPOINT.PERIOD", 1)
    assert train(recipe, *options, "NAME", "whole") == 0
    assert train(recipe, *options, "NAME", "parts", "SOLVER.LENGTH", 6, "SOLVER.SCHEDULE", "constant") == 0
    assert train(recipe, *options, "NAME", "same", "SOLVER.LENGTH", 8, "SOLVER.SCHEDULE", "constant") == 0
    assert train(recipe, *options, "NAME", "parts", "SOLVER.SCHEDULE", "constant", resume="auto") == 0
    left, right = (find_checkpoint(run_folder(recipe, name), "last") for name in ("parts", "same"))
    assert (left / "model.safetensors").read_bytes() == (right / "model.safetensors").read_bytes()
    assert "relabelled" in (run_folder(recipe, "same") / "metrics.jsonl").read_text()


def test_a_classifier_learns_and_its_table_is_written(tmp_path, capsys):
    recipe = write_recipe(tmp_path, "classifier")
    options = ("SOLVER.LENGTH", 60, "SOLVER.BASE_LR", 0.01, "MODEL.DROPOUT", 0.0, "EVAL.PERIOD", 20)
    assert train(recipe, *options) == 0
    assert "train: 35 labelled training faces: calm 12, glad 11, cross 12" in capsys.readouterr().out
    run = run_folder(recipe, "classifier")
    info = load_info(find_checkpoint(run, "best"))
    assert (info.kind, info.classes) == ("classifier", list(CLASSES))
    percent = info.accuracy.splits["val"]["accuracy"]
    assert info.selection == Selection(split="val", figure="accuracy", percent=percent)
    capsys.readouterr()
    result = infer_run(str(run))["classes"]
    printed = capsys.readouterr().out
    assert "val (the split that selected the best checkpoint)" in printed and "\ntest: classes" in printed
    test = result["splits"]["test"]
    assert f"near ties: {test['near_ties']['near'] or 'none'} of 10 faces" in printed
    assert test["accuracy"] > 80  # brightness tells the class: chance is 33
    assert f"accuracy {test['accuracy']:.1f}" in printed
    written = json.loads((run / "evaluation" / "classes.json").read_text())
    assert written == json.loads(json.dumps(result))
    assert sum(test["total"]) == np.sum(test["confusion"]) == 10  # of 12 faces two have no label
    confusion = np.loadtxt(run / "evaluation" / "confusion_test.csv", delimiter=",")
    assert confusion.tolist() == test["confusion"]
    with np.load(run / "evaluation" / "predictions.npz") as file:
        known = (file["label"] >= 0) & (file["rows"] >= 52)
        assert (file["prediction"] == file["label"])[known].sum() == sum(test["right"])
        np.testing.assert_allclose(file["probability"].sum(1), 1, rtol=1e-5)
        np.testing.assert_array_equal(file["probability"].argmax(1), file["prediction"])
    infer_run(str(run), overrides=["DATA.EVAL_MIN_VOTE_SHARE", "0.5"])
    assert "test: evaluated on the 10 of 10 labelled faces whose label has more than 0.5" in capsys.readouterr().out
    (found,) = find_runs(recipe.parent / "result")
    assert f"{percent:.1f} % at {info.iteration}" in describe_run(found)


def test_faces_that_also_stand_in_training_are_told_and_left_out(tmp_path, capsys):
    path = write_labelled(tmp_path / "moods")
    faces = np.load(path / "faces.npy")
    faces[[53, 57, 60]] = faces[[2, 3, 41]]  # 41 is of val; 55 and 62 have no label
    faces[55] = faces[4]
    np.save(path / "faces.npy", faces)
    recipe = write_recipe(tmp_path, "classifier")
    assert train(recipe, "SOLVER.LENGTH", 3) == 0  # some are misclassified
    run = run_folder(recipe, "classifier")
    capsys.readouterr()
    splits = infer_run(str(run), splits=["train", "val", "test"])["classes"]["splits"]
    printed = capsys.readouterr().out
    assert {split: found["copies_in_training"] for split, found in splits.items()} == {
        "train": None,  # nothing would be left
        "val": 0,
        "test": 2,
    }
    assert splits["train"]["without_copies"] is None
    assert splits["val"]["without_copies"]["confusion"] == splits["val"]["confusion"]
    test, without = splits["test"], splits["test"]["without_copies"]
    with np.load(run / "evaluation" / "predictions.npz") as file:
        called = dict(zip(file["rows"].tolist(), file["prediction"].tolist(), strict=True))
    expected = np.array(test["confusion"])
    for row in (53, 57):
        expected[row % 3, called[row]] -= 1
    assert without["confusion"] == expected.tolist() and sum(without["total"]) == 8
    assert f"without the 2 faces that are also in train, pixel for pixel: accuracy {without['accuracy']:.1f}" in printed
    assert printed.count("none of these faces is also in train, pixel for pixel") == 1

    other = write_labelled(tmp_path / "other", subjects=True)  # the same description, so the same data
    assert (
        infer_run(str(run), overrides=["DATA.PATH", str(other)])["classes"]["splits"]["test"]["copies_in_training"] == 0
    )
    description = json.loads((other / "dataset.json").read_text())
    description["coverage"]["faces"]["read"] = 65
    (other / "dataset.json").write_text(json.dumps(description))
    capsys.readouterr()
    found = infer_run(str(run), overrides=["DATA.PATH", str(other)])["classes"]["splits"]["test"]
    assert found["copies_in_training"] is found["without_copies"] is None
    assert "not the training data ('coverage.faces.read' differs)" in capsys.readouterr().out


def test_pictures_and_files_of_each_split(tmp_path, capsys, monkeypatch):
    recipe = write_recipe(tmp_path, "classifier")
    assert train(recipe, "SOLVER.LENGTH", 3) == 0  # some are misclassified
    folder = run_folder(recipe, "classifier") / "evaluation"
    result = infer_run(str(run_folder(recipe, "classifier")))["classes"]
    for split in ("val", "test"):
        alone = json.loads((folder / f"classes_{split}.json").read_text())
        assert alone["splits"] == {split: json.loads(json.dumps(result["splits"][split]))}
        assert alone["checkpoint"] == result["checkpoint"]
        assert Image.open(folder / f"misclassified_{split}.png").width > 96
        bins = alone["splits"][split]["calibration"]["bins"]
        assert len(bins) == 15 and sum(part["count"] for part in bins) == sum(alone["splits"][split]["total"])
    plots = [f"{kind}_{split}.png" for split in ("val", "test") for kind in ("confusion", "reliability")]
    if can_plot():
        assert all(Image.open(folder / name).format == "PNG" for name in plots)
    monkeypatch.setattr("fecnet.runs.reports.can_plot", lambda: False)
    capsys.readouterr()
    infer_run(str(run_folder(recipe, "classifier")))
    said = f"{', '.join(plots)}: not written, they need matplotlib; install it with: pip install 'fecnet[viz]'"
    assert said in capsys.readouterr().out.splitlines()
    assert not any((folder / name).exists() for name in plots)  # they would show an earlier evaluation


def test_views_are_averaged_when_measured_and_in_training(tmp_path, capsys):
    recipe = write_recipe(tmp_path, "joint")
    options = ("DATA.CROP", 0.9, "DATA.INPUT_SIZE", 43, "SOLVER.LENGTH", 2)
    assert train(recipe, *options, "EVAL.TTA", "ten_crop") == 0
    run = run_folder(recipe, "joint")
    measured = load_info(find_checkpoint(run, "last")).accuracy.splits["val"]
    capsys.readouterr()
    ten = infer_run(str(run))
    assert "EVAL.TTA ten_crop: outputs are the mean over the views of a face" in capsys.readouterr().out
    assert ten["classes"]["views"] == ten["triplets"]["views"] == "ten_crop"
    assert ten["classes"]["splits"]["val"]["confusion"] == measured["confusion"]
    with np.load(run / "evaluation" / "embeddings.npz") as file:
        several = file["embedding"]
        np.testing.assert_allclose(np.linalg.norm(several, axis=1), 1, rtol=1e-5)
    center = infer_run(str(run), overrides=["EVAL.TTA", "center"])
    assert center["classes"]["views"] == "center" and "EVAL.TTA" not in capsys.readouterr().out
    with np.load(run / "evaluation" / "embeddings.npz") as file:
        assert not np.allclose(file["embedding"], several, atol=1e-6)
    with pytest.raises(ValueError, match=r"cannot resume with another 'EVAL\.TTA': 'ten_crop' there, 'flip' given"):
        train(recipe, *options, "EVAL.TTA", "flip", resume=str(run))


def test_predictions_that_are_not_finite_name_the_split_and_the_face(tmp_path):
    recipe = write_recipe(tmp_path, "joint")
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    path = find_checkpoint(run_folder(recipe, "joint"), "last") / "model.safetensors"
    weights = load_file(path)
    for name, output in (("head.classifier.classifier.weight", "logits"), ("head.other.embedding.weight", "embedding")):
        damaged = {key: value.clone() for key, value in weights.items()}
        damaged[name].fill_(3e38)  # finite, but not what is summed
        save_file(damaged, path)
        said = (
            rf"split 'val': face 4\d \(row of faces\.npy\): the net's '{output}' is not finite, as for \d+ of \d+ faces"
        )
        with pytest.raises(ValueError, match=said) as error:
            infer_run(str(run_folder(recipe, "joint")))
        assert "\n" not in str(error.value)


def test_the_demo_of_classes_runs_from_the_command_line(tmp_path, monkeypatch, capsys):
    people = {f"num_{split}_identities": 12 for split in ("train", "val", "test")}
    triplets = {f"num_{split}_triplets": 30 for split in ("train", "val", "test")}
    prepare_synthetic(tmp_path / "demo", **people, **triplets, progress=False)
    where = ["DATA.PATH", f"{tmp_path}/demo", "OUTPUT_DIR", f"{tmp_path}/result"]

    def run(script, *words):
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *words])
        return script.main()

    monkeypatch.chdir(ROOT)
    command = ("config/demo_classes.yaml", *where)
    assert run(train_script, *command, "SOLVER.LENGTH", "2", "LOG.TENSORBOARD", "false") == 0
    capsys.readouterr()
    assert run(inference, f"{tmp_path}/result/demo_classes") == 0
    said = capsys.readouterr().out
    assert said.count("11 pout") == 1 and "of 96 faces" in said
    assert run(train_script, *command, "DATA.LABELS", "age") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}/demo: no label set 'age'; there are: synthetic; to make one, see: fecnet prepare --help"
    ]


def test_joint_prints_and_writes_both_tables(tmp_path, capsys):
    recipe = write_recipe(tmp_path, "joint")
    assert train(recipe) == 0
    run = run_folder(recipe, "joint")
    info = load_info(find_checkpoint(run, "last"))
    assert info.kind == "joint"
    assert {"ALL", "accuracy", "confusion"} <= info.accuracy.splits["val"].keys()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    logged = next(line for line in lines if "loss" in line)
    assert logged["loss"] == pytest.approx(logged["triplet"] + logged["cross_entropy"])
    assert any({"val/ALL", "val/macro_f1"} <= line.keys() for line in lines)
    capsys.readouterr()
    result = infer_run(str(run))
    printed = capsys.readouterr().out
    assert "THREE" in printed and "precision" in printed
    assert result.keys() == {"triplets", "classes"}
    written = {path.name for path in (run / "evaluation").iterdir()}
    assert written >= {"triplets.json", "embeddings.npz", "classes.json", "predictions.npz", "confusion_val.csv"}


def test_valence_and_arousal_are_learnt_alone(tmp_path, capsys):
    recipe = write_recipe(tmp_path, "affect")
    options = ("LOSS.CRITERIA", "[valence_arousal]", "LOSS.WEIGHTS", "[1]", "MODEL.HEAD", "affect", "LOSS.CCC", "true")
    longer = ("SOLVER.LENGTH", 60, "SOLVER.BASE_LR", 0.01, "MODEL.DROPOUT", 0.0)
    assert train(recipe, *options, *longer) == 0
    run = run_folder(recipe, "affect")
    info = load_info(find_checkpoint(run, "best"))
    assert (info.kind, info.selection.figure) == ("affect", "ccc")
    result = infer_run(str(run), checkpoint="last")
    test = result["affect"]["splits"]["test"]
    assert test["affect_faces"] == 10 and test["ccc"] > 50
    assert f"valence  {test['valence_ccc'] / 100:.3f}" in capsys.readouterr().out
    assert json.loads((run / "evaluation" / "affect.json").read_text())["splits"]["test"] == test
    with np.load(run / "evaluation" / "affect.npz") as file:
        assert file["valence_arousal"].shape == (24, 2)

    write_labelled(tmp_path / "without", affect=False)
    with pytest.raises(ValueError, match=r"the labels have no 'valence_arousal'; sets that have: fecnet prepare affe"):
        train(recipe, *options, "DATA.PATH", tmp_path / "without", "NAME", "without")


def test_a_hold_out_selects_and_the_last_iteration_can_be_taken_instead(tmp_path, capsys):
    recipe = write_recipe(tmp_path, "classifier")
    options = ("DATA.HOLD_OUT", 0.25, "DATA.EVAL_SPLITS", "[hold_out]", "DATA.REPORT_SPLITS", "[test]")
    assert train(recipe, *options, "NAME", "held") == 0
    held = load_info(find_checkpoint(run_folder(recipe, "held"), "best")).accuracy
    assert held.selection.split == "hold_out"
    assert sum(held.splits["hold_out"]["total"]) == 9  # a quarter of 35 labelled faces of three classes
    infer_run(str(run_folder(recipe, "held")))

    assert train(recipe, "EVAL.BEST_METRIC", "last", "DATA.EVAL_SPLITS", "[test]", "NAME", "last") == 0
    run = run_folder(recipe, "last")
    assert not (run / "checkpoints" / "best").exists()
    capsys.readouterr()
    infer_run(str(run), splits=["test"])
    printed = capsys.readouterr().out
    assert "checkpoints/6: written" in printed and "selected" not in printed
    infer_run(str(run_folder(recipe, "held")), splits=["hold_out"])
    assert "hold_out selected the checkpoint: metrics on it are biased upwards" in capsys.readouterr().out


def test_checkpoint_and_data_must_have_the_same_classes_in_the_same_order(tmp_path):
    recipe = write_recipe(tmp_path, "classifier")
    assert train(recipe, "SOLVER.LENGTH", 2) == 0
    other = write_labelled(tmp_path / "other", classes=("glad", "calm", "cross"))
    run = run_folder(recipe, "classifier")
    said = r"other: the classes are glad, calm, cross; .* was trained on calm, glad, cross; allowed: the same names"
    with pytest.raises(ValueError, match=said):
        infer_run(str(run), overrides=["DATA.PATH", str(other)])
    with pytest.raises(ValueError, match=said):
        train(recipe, "SOLVER.LENGTH", 4, "DATA.PATH", other, resume=str(run))


def test_a_hold_out_is_not_measured_by_other_labels_than_those_that_cut_it(tmp_path):
    recipe = write_recipe(tmp_path, "classifier")
    assert train(recipe, "SOLVER.LENGTH", 1, "DATA.HOLD_OUT", 0.2, "DATA.EVAL_SPLITS", "[hold_out]") == 0
    run = str(run_folder(recipe, "classifier"))
    infer_run(run, splits=["hold_out"])
    for splits in (["hold_out"], ["train"]):
        with pytest.raises(ValueError, match=r"DATA\.HOLD_OUT: 0\.3, trained with 0\.2: it decides which faces"):
            infer_run(run, splits=splits, overrides=["DATA.HOLD_OUT", "0.3"])
    infer_run(run, splits=["test"], overrides=["DATA.HOLD_OUT", "0.3"])


def test_an_embedding_is_not_measured_as_a_classifier(tmp_path):
    recipe = write_recipe(tmp_path, "classifier")
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    run = str(run_folder(recipe, "classifier"))
    with pytest.raises(ValueError, match=r"kind 'classifier'; LOSS\.CRITERIA asks for 'embedding'"):
        infer_run(run, overrides=["LOSS.CRITERIA", "[triplet]", "MODEL.HEAD", "embedding"])
    with pytest.raises(ValueError, match=r"--baselines: .* is not trained on triplets"):
        infer_run(run, baselines=True)
