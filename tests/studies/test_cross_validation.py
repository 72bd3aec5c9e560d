"""fecnet folds: a net for each fold, measured where nothing selected it, and their sum; what is wrong is one line."""

import errno
import json
import shutil

import numpy as np
import pytest

from fecnet.cli.main import main as fecnet
from fecnet.config.node import load_config
from fecnet.evaluation.classification import ClassAccuracy
from fecnet.evaluation.fold_accuracy import FoldAccuracy
from fecnet.prepare.writer import PackedWriter
from fecnet.runs.inference import infer_run
from fecnet.runs.listing import find_runs
from fecnet.runs.training import train_run
from fecnet.studies import cross_validation
from tests.classes import labels_of, write_labelled, write_recipe
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)


@pytest.fixture
def moods(tmp_path):
    """A recipe that learns three classes of 40 faces of ten people; best epoch, which folds must not take."""
    write_labelled(tmp_path / "moods", subjects=True)
    return write_recipe(tmp_path, "classifier")


HALVES = ("DATA.NUM_FOLDS", "2", "CHECKPOINT.KEEP", "0")


def error_of(capsys, *words):
    assert fecnet(["folds", *map(str, words)]) == 2
    (said,) = [line for line in capsys.readouterr().err.split("\n") if line.startswith("error: ")]
    return said


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("inline_runs")
def test_folds_are_trained_measured_and_summed(moods, tmp_path, capfd, monkeypatch):
    command = ["folds", str(moods), *HALVES, "--by", "subject", "--jobs", "2"]
    assert fecnet(command) == 0
    folder = tmp_path / "result" / "classifier_subject"
    assert {run.name: run.state for run in find_runs(folder)} == {"fold_1": "finished", "fold_2": "finished"}
    assert not list(folder.glob("fold_*/checkpoints/best"))  # nothing selects
    found = json.loads((folder / "folds.json").read_text())
    measured = [
        json.loads((folder / f"fold_{fold}/evaluation/classes.json").read_text())["splits"]["fold"] for fold in (1, 2)
    ]
    confusions = [np.array(one["confusion"]) for one in measured]
    assert found["together"]["confusion"] == (confusions[0] + confusions[1]).tolist()
    assert np.loadtxt(folder / "confusion_folds.csv", delimiter=",").tolist() == found["together"]["confusion"]
    label_N = labels_of(range(40))
    assert found["together"]["total"] == np.bincount(label_N[label_N >= 0]).tolist()
    assert found["tested"]["once"] == {"calm": 12, "glad": 11, "cross": 12} and not found["tested"]["never"]
    one, other = (fold["accuracy"] for fold in found["folds"])
    assert found["mean"]["accuracy"] == pytest.approx((one + other) / 2, abs=1e-3)
    assert found["sd"]["accuracy"] == pytest.approx(abs(one - other) / 2**0.5, abs=1e-3)
    assert [fold["seen_subjects"] for fold in found["folds"]] == [0, 0]
    assert sum(fold["learnt"] for fold in found["folds"]) == 35
    said = capfd.readouterr().out
    assert "classifier: 2 of 2 folds by 'subject' of train; % at the last iteration" in said
    assert "mean ± sd" in said and "35 faces are tested once, none never" in said and "coverage" in said

    # What was interrupted goes on and ends where it would have; what is finished is left alone.
    whole = (folder / "fold_1/checkpoints/6/model.safetensors").stat().st_mtime_ns
    shutil.rmtree(folder / "fold_2/checkpoints/6")
    (folder / "fold_2/checkpoints/last").write_text("2\n")
    assert fecnet(command) == 0
    assert (folder / "fold_1/checkpoints/6/model.safetensors").stat().st_mtime_ns == whole
    assert "resumed after iteration 2" in (folder / "fold_2.log").read_text()
    again = json.loads((folder / "folds.json").read_text())
    assert again["folds"] == found["folds"] and again["together"] == found["together"]

    # A disk that fails at the last of the files leaves the others as they were, too.
    files = {file.name: file for file in folder.glob("*folds.*")}
    for file in files.values():
        file.write_text("old")
    fold = FoldAccuracy(1, ClassAccuracy(("a", "b"), np.eye(2, dtype=np.int64)), 2, None)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(cross_validation, "confusion_plot", full_disk)
        cross_validation._report(folder, [fold], {"num_folds": 1, "by": "subject"}, None)
    assert sorted(files) == ["confusion_folds.csv", "confusion_folds.png", "folds.json"]
    assert {file.read_text() for file in files.values()} == {"old"}
    (folder / "folds.json").write_text(json.dumps(again))

    # One fold alone, which leaves what all of them said.
    before = (folder / "folds.json").read_bytes()
    assert fecnet([*command, "--fold", "2"]) == 0
    alone = json.loads((folder / "folds_2.json").read_text())
    assert alone["folds"] == found["folds"][1:] and alone["tested"] is None and alone["sd"]["accuracy"] is None
    assert (folder / "folds.json").read_bytes() == before


@pytest.mark.usefixtures("inline_runs")
def test_a_fold_that_fails_is_named_and_nothing_is_summed(moods, tmp_path, capfd):
    said = error_of(capfd, moods, *HALVES, "SOLVER.BATCH_SIZE", "30", "--fold", "1")
    assert "1 of 1 runs failed, see fold_1.log (exit code 2); the first says: error: SOLVER.BATCH_SIZE: 30" in said
    assert not list((tmp_path / "result/classifier_subject").glob("folds*.json"))


def write_people(path, label_N, subject_N):
    with PackedWriter(path, num_faces=len(label_N), height=48, width=48, channels=["grey"]) as writer:
        records = [{"key": f"{row:03d}", "source": f"{row}", "subject": name} for row, name in enumerate(subject_N)]
        writer.add_faces(np.zeros((len(label_N), 48, 48, 1), np.uint8), records)
        writer.add_labels(
            "mood",
            "train",
            classes=("calm", "glad", "cross"),
            faces_M=np.arange(len(label_N)),
            label_M=np.array(label_N),
        )
    return path


def test_what_cannot_be_cut_is_refused_before_anything_is_trained(moods, tmp_path, capsys):
    for words, said in (
        (["--fold", "11"], "--fold 11: allowed: 1..10 (DATA.NUM_FOLDS), or all"),
        (
            ["DATA.NUM_FOLDS", "11"],
            "DATA.NUM_FOLDS: 11, but the faces have 10 different 'subject'; allowed here: 2..10",
        ),
        (["DATA.NUM_FOLDS", "1"], "'DATA.NUM_FOLDS': 1; allowed: 2 or more"),
        (["--by", "published"], "'published' is for CK+"),
        (["--by", "sequence"], "40 of 40 faces have no 'sequence' in faces.csv; columns that all of them have: key,"),
        (["--by", "camera"], "'camera' is no column of faces.csv; allowed: published, corrected, key"),
        (["SOLVER.SCHEDULE", "plateau"], "EVAL.BEST_METRIC: 'last' leaves the plateau schedule without a metric"),
        (["DATA.FOLD", "2"], "'DATA.FOLD': set for each fold by fecnet folds; --fold chooses folds"),
        (["EVAL.BEST_METRIC", "accuracy"], "'EVAL.BEST_METRIC': set for each fold by fecnet folds"),
        (["--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["LOSS.CRITERIA", "[triplet]"], "MODEL.HEAD: 'classifier' gives"),
    ):
        assert said in error_of(capsys, moods, *words)
    said = error_of(capsys, write_recipe(tmp_path, "joint"))
    assert (
        "DATA.FOLD: 1; allowed with triplets and labels: 0, since a face is in many triplets and would be both trained"
        in said
    )
    assert said.endswith("fecnet prepare … --hold-out-subjects")
    # 'cross' is one person's face alone
    one = write_people(tmp_path / "one", [0, 1, 0, 1, 0, 1, 2], ["p", "p", "q", "q", "r", "r", "s"])
    said = error_of(capsys, moods, "DATA.PATH", one, "DATA.NUM_FOLDS", "2")
    assert "of 2 by 'subject' leaves no face to learn the class 'cross' from; allowed: one or more of each" in said
    assert not (tmp_path / "result").exists()


def test_one_fold_by_train_py_and_no_other_is_measured_as_tested(moods, tmp_path):
    options = ["DATA.FOLD", "1", *HALVES]
    with pytest.raises(
        ValueError, match=r"DATA\.REPORT_SPLITS: \['val', 'test'\] lacks 'fold', which DATA\.FOLD makes"
    ):
        train_run(load_config(moods, options), recipe="moods")
    options += ["DATA.EVAL_SPLITS", "[fold]", "EVAL.BEST_METRIC", "last"]
    assert train_run(load_config(moods, options), recipe="moods") == 0
    run = str(tmp_path / "result" / "moods")
    counted = sum(infer_run(run, splits=["fold"])["classes"]["splits"]["fold"]["total"])
    assert 0 < counted < 35
    for overrides in (["DATA.FOLD", "2"], ["DATA.FOLD_SEED", "1"], ["DATA.FOLD_BY", "key"]):
        with pytest.raises(ValueError, match=rf"{overrides[0]}: .* it decides which faces were held out"):
            infer_run(run, splits=["fold"], overrides=overrides)


def test_help_tells_how(capsys):
    with pytest.raises(SystemExit):
        fecnet(["folds", "--help"])
    said = capsys.readouterr().out
    assert "--by published --fold 1" in said and "an interrupted command to resume" in said
    with pytest.raises(SystemExit):
        fecnet(["folds", "x.yaml", "--fold", "first"])
    assert "'first'; allowed: all, or numbers such as 1 or 1,2" in capsys.readouterr().err


def test_seen_subjects_are_those_that_labelled_faces_were_learnt_from(tmp_path):
    """By sequence, so that people stand on both sides."""
    from fecnet.data.labels import LabelTable
    from fecnet.data.packed import PackedDataset
    from fecnet.studies.cross_validation import _seen_subjects

    dataset = PackedDataset(write_people(tmp_path / "people", [0, 1, 2, 0, 1, -1], ["a", "a", "b", "b", "c", "c"]))
    whole = dataset.labels("mood", "train")

    def part(*rows):
        faces, label = whole.faces_M[list(rows)], whole.label_M[list(rows)]
        return LabelTable(**{**vars(whole), "faces_M": faces, "label_M": label})

    assert _seen_subjects(dataset, part(0, 2, 5), part(1, 3, 4)) == 2  # of c no labelled face was learnt from
    assert _seen_subjects(dataset, part(0), part(2, 4)) == 0
    assert _seen_subjects(dataset, part(4, 0), part(5, 1)) == 1  # c's other face has no label and is not tested
