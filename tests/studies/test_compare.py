"""``fecnet compare`` on runs of a second: tables from the runs' own numbers, names, pictures, and what is refused."""

import errno
import json
import shutil
import statistics

import pytest

from fecnet.cli.compare import plan_runs
from fecnet.cli.main import main as fecnet
from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.runs.training import train_run
from fecnet.studies import comparing
from fecnet.studies.compared_runs import group_runs, read_run
from tests.classes import write_recipe
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

# evaluated and saved at iterations 3 and 6
SHORT = (
    *("DATA.EVAL_SPLITS", "[val,test]", "SOLVER.BASE_LR", "0.01"),
    *("CHECKPOINT.PERIOD", "3", "CHECKPOINT.KEEP", "0"),
)
SETTINGS = {"cosine": ("SOLVER.SCHEDULE", "cosine"), "step": ("SOLVER.SCHEDULE", "step", "SOLVER.STEP_SIZE", "1")}


def train(recipe, name, seed, *overrides):
    overrides = [*SHORT, *overrides, "NAME", name, "SEED", str(seed)]
    assert train_run(load_config(recipe, overrides), recipe=recipe.stem) == 0


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("compare"), "classifier")


@pytest.fixture(scope="module")
def trained(recipe):
    """Two settings × two seeds; not to be written to."""
    for name, overrides in SETTINGS.items():
        for seed in (0, 1):
            train(recipe, f"{name}-seed{seed}", seed, *overrides)
    return recipe.parent / "result"


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of the runs, to be damaged."""
    return shutil.copytree(trained, tmp_path / "runs")


def edit_meta(run, which, change):
    path = find_checkpoint(run, which) / "meta.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


def accuracy_of(run, split):
    return load_info(find_checkpoint(run, "best")).accuracy.splits[split]["accuracy"]


def refused(capsys, *arguments):
    """The one line that refuses; nothing is written."""
    assert fecnet(["compare", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_the_table_is_that_of_the_selected_checkpoints(runs, capsys):
    assert fecnet(["compare", str(runs)]) == 0
    printed = capsys.readouterr().out
    written = json.loads((runs / "comparison.json").read_text())
    assert (written["metric"], written["split"]) == ("accuracy", "test")  # val has selected
    for name in SETTINGS:
        found = [accuracy_of(runs / f"{name}-seed{seed}", "test") for seed in (0, 1)]
        assert list(written["settings"][name]["percent"]["test"].values()) == found
        assert written["settings"][name]["mean"]["test"] == pytest.approx(statistics.fmean(found))
        assert written["settings"][name]["sd"]["test"] == pytest.approx(statistics.stdev(found))
        assert f"{statistics.fmean(found):.2f} ± {statistics.stdev(found):.2f}" in printed
    (pair,) = written["differences"]
    by_seed = [
        accuracy_of(runs / f"cosine-seed{n}", "test") - accuracy_of(runs / f"step-seed{n}", "test") for n in (0, 1)
    ]
    assert list(pair["by_seed"].values()) == pytest.approx(by_seed, abs=1e-4)
    assert pair["verdict"] in printed and "val (selects)" in printed
    assert (runs / "comparison.png").stat().st_size > 10_000
    assert "best on val" in printed


def test_the_selected_checkpoint_counts_not_the_last(runs):
    for run in runs.iterdir():
        (run / "checkpoints" / "best").write_text("3\n")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        later = [
            line | {"test/accuracy": 1.5} if line["iteration"] == 6 and "test/accuracy" in line else line
            for line in lines
        ]
        assert later != lines
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in later))
    assert fecnet(["compare", str(runs)]) == 0
    found = json.loads((runs / "comparison.json").read_text())["settings"]["step"]
    assert found["iteration"] == {"0": 3, "1": 3}
    assert list(found["percent"]["test"].values()) == [
        accuracy_of(runs / f"step-seed{seed}", "test") for seed in (0, 1)
    ]


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "comparison.json")


def test_what_is_compared_can_be_chosen(runs, tmp_path, capsys, monkeypatch):
    chosen = ["--split", "val", "--metric", "macro_f1", "--output", str(tmp_path / "out")]
    assert fecnet(["compare", *map(str, sorted(runs.iterdir())), *chosen]) == 0
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (written["metric"], written["split"]) == ("macro_f1", "val")
    assert "val also selected the checkpoints" in capsys.readouterr().out
    names = [tmp_path / "out" / f"comparison.{suffix}" for suffix in ("json", "png")]
    for file in names:
        file.write_text("old")
    with monkeypatch.context() as patched:  # one that fails does not leave the picture of the one beside the other
        patched.setattr(comparing, "replace_json", full_disk)
        assert fecnet(["compare", *map(str, sorted(runs.iterdir())), *chosen]) == 2
    assert [file.read_text() for file in names] == ["old", "old"] and len(list(names[0].parent.iterdir())) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert "no metric 'ccc' of 'val'" in refused(capsys, runs, "--metric", "ccc")


@pytest.fixture
def selected_only(runs):
    """The runs as if they had been measured on val alone while training."""
    for meta in runs.glob("*/checkpoints/*/meta.json"):
        described = json.loads(meta.read_text())
        described["config"]["DATA"]["EVAL_SPLITS"] = ["val"]
        meta.write_text(json.dumps(described))
    for metrics in runs.glob("*/metrics.jsonl"):
        metrics.write_text("".join(line for line in metrics.open() if '"test/' not in line))
    return runs


def test_a_split_that_was_not_measured_is_measured_from_the_checkpoints(selected_only, trained, capsys, monkeypatch):
    assert fecnet(["compare", str(selected_only), "--split", "test"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("test was not measured while training: measured at iteration") == 4
    written = json.loads((selected_only / "comparison.json").read_text())
    assert written["split"] == "test" and "val (selects)" in printed
    for name in SETTINGS:  # what training said of the same nets
        told = {str(seed): accuracy_of(trained / f"{name}-seed{seed}", "test") for seed in (0, 1)}
        assert written["settings"][name]["percent"]["test"] == told
        assert list(written["settings"][name]["percent"]) == ["val", "test"]
        kept = json.loads((selected_only / f"{name}-seed0/evaluation/measured_test.json").read_text())
        assert kept["metrics"]["accuracy"] == told["0"]
        assert {"iteration", "made_from", "coverage", "command", "date", "provenance"} <= kept.keys()

    # kept beside the run, until what it was made from is another
    file = selected_only / "step-seed0/evaluation/measured_test.json"
    before = file.read_bytes()
    assert fecnet(["compare", str(selected_only), "--split", "test"]) == 0
    assert "measured at iteration" not in capsys.readouterr().out and file.read_bytes() == before
    file.write_bytes(before[:50])
    monkeypatch.setattr("fecnet.studies.measured_splits.code_hash", lambda: "other code")
    assert fecnet(["compare", str(selected_only), "--split", "test"]) == 0
    assert capsys.readouterr().out.count("measured at iteration") == 4
    assert json.loads(file.read_text())["made_from"]["code"] == "other code"
    assert not list(file.parent.glob(".*"))


def test_a_split_that_cannot_be_measured_is_one_line(selected_only, capsys):
    said = refused(capsys, selected_only, "--split", "dev")
    assert "cosine-seed0: dev was not measured while training (val were), and " in said
    assert "moods has no such split; there are: train, val, test" in said
    for run in selected_only.iterdir():
        edit_meta(run, "best", lambda meta: meta["data"].update(faces_sha256="0"))
    said = refused(capsys, selected_only, "--split", "test")
    assert "moods holds other data now: 'faces_sha256' was '0', is '" in said
    edit_meta(selected_only / "cosine-seed0", "best", lambda meta: meta["config"]["DATA"].update(PATH="nowhere"))
    said = refused(capsys, selected_only, "--split", "test")
    assert "and the data to measure it cannot be opened: nowhere: no packed data set here" in said
    assert not list(selected_only.glob("*/evaluation/*"))


def test_histograms_of_sparse_training_are_no_curves(runs):
    for run in runs.iterdir():
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"iteration": 6, "scales/mean": 0.5, "scales/histogram": [3, 1]}) + "\n")
    assert fecnet(["compare", str(runs)]) == 0
    assert read_run(runs / "step-seed0").curves["scales/mean"] == {6: 0.5}


def test_other_names_give_way_to_what_differs(runs):
    (runs / "step-seed1").rename(runs / "mine")
    groups = group_runs([read_run(run) for run in sorted(runs.iterdir())])
    assert {name: list(group) for name, group in groups.items()} == {
        "SCHEDULE cosine, STEP_SIZE 10.0": [0, 1],
        "SCHEDULE step, STEP_SIZE 1.0": [0, 1],
    }


def test_an_unfinished_run_is_refused(runs, capsys):
    last = runs / "step-seed1" / "checkpoints" / "last"
    assert last.read_text() == "6\n"
    last.write_text("3\n")  # as a signal leaves it
    assert "step-seed1: unfinished, at iteration 3 of 6; finish it with: fecnet train --resume" in refused(capsys, runs)
    assert not (runs / "comparison.json").exists()


def test_a_number_that_is_none_is_refused(runs, capsys):
    path = runs / "cosine-seed0" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["loss"] = float("nan")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = refused(capsys, runs)
    assert f"metrics.jsonl:2: 'loss' is nan at iteration {lines[1]['iteration']}; allowed: finite numbers" in said
    path.write_text(path.read_text().replace('"iteration"', '"step"', 1))
    assert "metrics.jsonl:1: not a line of metrics" in refused(capsys, runs)


def test_other_classes_are_refused(runs, capsys):
    edit_meta(runs / "step-seed0", "best", lambda meta: meta["classes"].reverse())
    said = refused(capsys, runs)
    assert "not comparable: classes is ['calm', 'glad', 'cross'] in" in said and "step-seed0" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda meta: meta["data"].update(num_faces=65), "data 'num_faces' is 64 in"),
        (lambda meta: meta["coverage"]["faces"].update(kept=63), "data 'coverage.faces.kept' is 64 in"),
        (lambda meta: meta["data"].update(height=96), "data 'height' is 48 in"),
        (lambda meta: meta["data"].update(faces_sha256="0"), "data 'faces_sha256' is "),
        (lambda meta: meta["config"]["DATA"].update(FOLD=2), "'DATA.FOLD' is 0 in"),
        (lambda meta: meta["config"]["DATA"].update(EVAL_MIN_VOTE_SHARE=0.5), "'DATA.EVAL_MIN_VOTE_SHARE' is 0.0 in"),
        (lambda meta: meta["config"]["DATA"].update(EVAL_SPLITS=["test"]), "'DATA.EVAL_SPLITS' is ['val', 'test'] in"),
    ],
)
def test_other_data_are_refused(runs, capsys, change, said):
    edit_meta(runs / "step-seed1", "best", change)
    assert f"not comparable: {said}" in refused(capsys, runs)


def test_the_folder_of_the_same_data_may_have_another_name(runs):
    edit_meta(runs / "step-seed1", "best", lambda meta: meta["data"].update(name="moved"))
    edit_meta(runs / "step-seed1", "best", lambda meta: meta["config"]["DATA"].update(PATH="elsewhere/moved"))
    assert list(group_runs([read_run(run) for run in sorted(runs.iterdir())])) == ["cosine", "step"]


def test_folds_cut_otherwise_are_refused(runs, capsys):
    for run in runs.iterdir():
        edit_meta(run, "best", lambda meta: meta["config"]["DATA"].update(FOLD=1))
    assert fecnet(["compare", str(runs)]) == 0
    edit_meta(runs / "step-seed1", "best", lambda meta: meta["config"]["DATA"].update(FOLD_BY="published"))
    assert "not comparable: 'DATA.FOLD_BY' is 'subject' in" in refused(capsys, runs)


def test_a_split_that_was_learnt_is_not_what_is_compared(recipe, runs, capsys):
    for seed in (0, 1):
        train(recipe, f"all-seed{seed}", seed, "DATA.EVAL_SPLITS", "[val,train]", "OUTPUT_DIR", str(runs / "more"))
    assert fecnet(["compare", str(runs / "more")]) == 0
    said = capsys.readouterr().out
    assert json.loads((runs / "more" / "comparison.json").read_text())["split"] == "val"
    assert "val also selected the checkpoints" in said and "was trained on" not in said
    assert fecnet(["compare", str(runs / "more"), "--split", "train"]) == 0
    assert "train was trained on: its metrics say nothing of other faces" in capsys.readouterr().out


def test_a_net_that_was_only_pruned_is_left_out(runs, capsys):
    from fecnet.pruning.prune import Goal, prune_run

    pruned = prune_run(str(runs / "step-seed0"), Goal(ratio=0.5))
    capsys.readouterr()
    assert fecnet(["compare", str(runs)]) == 0
    assert f"{pruned}: left out: pruned, and not trained since" in capsys.readouterr().out
    assert "pruned and not trained since: nothing to resume" in refused(capsys, pruned)


def test_a_run_counts_once(runs, tmp_path, capsys):
    other = shutil.copytree(runs / "cosine-seed1", tmp_path / "copy")
    said = refused(capsys, runs, other, "--output", tmp_path / "out")
    assert "copy: the same settings and SEED 1 as" in said
    assert "--output: the runs lie in 2 folders" in refused(capsys, runs, other)
    assert "no run here" in refused(capsys, tmp_path / "absent")


def test_code_and_hardware_that_differ_are_told(runs, capsys):
    edit_meta(runs / "step-seed0", "best", lambda meta: meta["provenance"].update(torch="1.0"))
    assert fecnet(["compare", str(runs)]) == 0
    assert "runs differ in torch: 1.0, " in capsys.readouterr().out


def test_accuracy_on_training_faces_is_shown_where_it_was_measured(recipe, runs, monkeypatch):
    from fecnet.studies import comparing

    shown = []
    monkeypatch.setattr(comparing, "plot_curves", lambda panels, *_, **__: shown.append(panels))
    comparing.compare_runs(sorted(runs.iterdir()), runs.parent / "out")
    train(recipe, "measured-seed0", 0, "DATA.EVAL_SPLITS", "[val,test,train]", "OUTPUT_DIR", str(runs.parent / "more"))
    comparing.compare_runs([runs.parent / "more" / "measured-seed0"], runs.parent / "out")
    assert json.loads((runs.parent / "out" / "comparison.json").read_text())["split"] == "test"
    batches, measured = (panels[2] for panels in shown)
    assert batches.title.startswith("accuracy on training batches") and len(batches.bands) == 2
    assert measured.title == "accuracy on train, %" and list(measured.bands["measured"].place_P) == [3, 6]
    assert [panel.title for panel in shown[0]][::3] == ["training loss", "accuracy on test, %"]
    logged = [run.curves["batch_accuracy"] for run in map(read_run, (runs / "cosine-seed0", runs / "cosine-seed1"))]
    assert list(batches.bands["cosine"].mean_P) == [
        (one + two) / 2 for one, two in zip(*(curve.values() for curve in logged), strict=True)
    ]


def test_triplets_are_compared_and_nothing_is_claimed_of_one_seed(tiny, tmp_path, capsys):
    from tests.conftest import TINY_RECIPE

    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY_RECIPE % (tiny, tmp_path / "result"))
    for name, rate in (("slow", "1e-4"), ("fast", "1e-3")):
        cfg = load_config(recipe, ["SOLVER.BASE_LR", rate, "NAME", f"{name}-seed0"])
        assert train_run(cfg, recipe="tiny") == 0
    capsys.readouterr()
    assert fecnet(["compare", str(tmp_path / "result")]) == 0
    printed = capsys.readouterr().out
    assert "ALL, %" in printed and "val also selected the checkpoints" in printed
    assert "no verdict: 1 common seed, an interval needs two or more" in printed


@pytest.mark.usefixtures("inline_runs")
def test_settings_are_trained_then_compared_and_finished_runs_are_kept(recipe, tmp_path, capsys):
    command = ["compare", str(recipe), str(tmp_path / "runs"), *SHORT, "--jobs", "2", "--seeds", "1"]
    for name, overrides in SETTINGS.items():
        command += ["--setting", name, *overrides]
    assert fecnet(command) == 0
    printed = capsys.readouterr().out
    assert "no verdict: 1 common seed" in printed and "cosine − step" in printed
    written = [(tmp_path / "runs" / f"{name}-seed0" / "metrics.jsonl").stat().st_mtime_ns for name in SETTINGS]
    assert fecnet(command) == 0
    assert capsys.readouterr().out == printed
    assert written == [(tmp_path / "runs" / f"{name}-seed0" / "metrics.jsonl").stat().st_mtime_ns for name in SETTINGS]


def test_the_plan_has_every_seed_of_every_setting(recipe):
    runs = plan_runs(recipe, [["a", "SOLVER.BASE_LR", "1"], ["b"]], ["SOLVER.LENGTH", "4"], seeds=2)
    assert [run.name for run in runs] == ["a-seed0", "b-seed0", "a-seed1", "b-seed1"]
    assert runs[2].overrides == ("SOLVER.LENGTH", "4", "SOLVER.BASE_LR", "1", "SEED", "1")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([["a"], ["a", "SOLVER.BASE_LR", "1"]], "--setting 'a': expected one folder name, another for each setting"),
        ([["a/b"]], "--setting 'a/b': expected one folder name"),
        ([["a", "SEED", "3"]], "--setting a: SEED is set for each run"),
        ([["a"], ["b", "SOLVER.SCHEDULE", "cosine"]], "--setting b: the same settings as 'a'"),
        ([["a", "SOLVER.BASE_RL", "3"]], "override: unknown key 'SOLVER.BASE_RL'; did you mean"),
    ],
)
def test_what_is_wrong_with_settings_is_said_before_anything_is_trained(recipe, tmp_path, capsys, settings, said):
    options = [word for setting in settings for word in ["--setting", *setting]]
    assert said in refused(capsys, recipe, tmp_path / "runs", *options)
    assert not (tmp_path / "runs").exists()


def test_a_setting_needs_recipe_and_folder(recipe, capsys):
    assert "--setting: needs RECIPE FOLDER before it" in refused(capsys, recipe, "--setting", "a")
