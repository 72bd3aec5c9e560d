"""The page from whole runs: what stands on it, what is said where something is missing, and damage in one line."""

import html
import json
import re
import shutil

import numpy as np
import pytest

from fecnet.cli.main import main
from fecnet.run_page import map_figure as maps
from tests.run_page.runs import HOSTILE


def make_page(*paths, output):
    assert main(["report", *map(str, paths), "--output", str(output)]) == 0
    return output.read_text(encoding="utf-8")


@pytest.fixture
def copy(runs, tmp_path):
    """A run that a test may damage."""

    def make(name):
        return shutil.copytree(runs / name, tmp_path / "copies" / name)

    return make


HEADINGS = ("Curves", "Tables", "Where net and annotators disagree", "Face map", "Provenance")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("embedding", ("triplet accuracy", "untrained net", "pixel distance", "linear map", "Triplet accuracy")),
        ("classifier", ("class accuracy", "mean class accuracy", "Confusion", "Calibration: accuracy")),
        ("joint", ("triplet accuracy", "class accuracy", "test: triplets", "Confusion")),
        ("affect", ("mean CCC", "Valence and arousal of", "RMSE")),
    ],
)
def test_every_kind_of_run_has_its_page(runs, tmp_path, name, wanted):
    page = make_page(runs / name, output=tmp_path / "page.html")
    for heading in HEADINGS:
        assert f"<h3>{heading}</h3>" in page
    for text in wanted:
        assert text in page
    assert "data:image/webp;base64," in page and "not evaluated" not in page


def test_figures_are_those_of_inference(runs, tmp_path):
    page = make_page(runs / "joint", output=tmp_path / "page.html")
    for name, key in (
        ("triplets", lambda found: found["fecnet"]["ALL"]["percent"]),
        ("classes", lambda f: f["accuracy"]),
    ):
        table = json.loads((runs / "joint" / "evaluation" / f"{name}.json").read_text())
        for found in table["splits"].values():
            assert f"<b>{key(found):.1f} %</b>" in page


def test_provenance_is_whole(runs, tmp_path):
    page = make_page(runs / "classifier", output=tmp_path / "page.html")
    meta = json.loads((next((runs / "classifier" / "checkpoints").glob("[0-9]*")) / "meta.json").read_text())
    known = meta["provenance"]
    wanted = (meta["command"], meta["started"], known["torch"], known["processor"], f"commit {known['commit']}")
    for text in (*wanted, "faces: read 64, kept 64", "SOLVER.BATCH_SIZE: 8", "differ from the defaults"):
        assert html.escape(text) in page
    assert "<dd>moods, 64 faces</dd>" in page
    again = re.search(r"<dt>again</dt><dd><code>(.*?)</code>", page)[1]
    assert again == f"fecnet train {runs / 'classifier' / 'config.yaml'} NAME classifier-again"


def test_nothing_of_a_file_is_taken_as_markup(runs, tmp_path, copy):
    run = copy("classifier").rename(tmp_path / "<img src=y onerror=alert(3)>")
    page = make_page(run, output=tmp_path / "page.html")
    for name in HOSTILE:
        assert html.escape(name) in page
    assert "<script>alert" not in page and "<img src=x" not in page and "<img src=y" not in page
    assert len(re.findall("<script", page)) == len(re.findall("</script", page)) == 2  # ours and the map's data
    assert len(re.findall("</style", page)) == 1
    told = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert tuple(told["classes"]) == HOSTILE


def test_the_map_tells_every_measured_face_once(runs, tmp_path):
    page = make_page(runs / "classifier", output=tmp_path / "page.html")
    told = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    with np.load(runs / "classifier" / "evaluation" / "predictions.npz") as predicted:
        wanted = zip(predicted["rows"], predicted["label"], predicted["prediction"], strict=True)
        assert sorted(face[:3] for face in told["cells"].values()) == sorted([int(n) for n in face] for face in wanted)
        percent = {int(row): 100 * p.max() for row, p in zip(predicted["rows"], predicted["probability"], strict=True)}
    assert all(abs(percent[face[0]] - face[3]) <= 0.51 for face in told["cells"].values())


def test_a_map_of_some_faces_says_so(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "MAX_FACES", 10)
    page = make_page(runs / "classifier", output=tmp_path / "page.html")
    assert "10 faces of 24, evenly sampled" in page


def test_an_embedding_takes_its_labels_from_the_data(runs, tmp_path):
    page = make_page(runs / "embedding", output=tmp_path / "page.html")
    assert html.escape(HOSTILE[0]) in page.split("<h3>Face map</h3>")[1]


def test_what_was_not_measured_says_the_command(runs, tmp_path, capsys):
    run = runs / "unmeasured"
    page = make_page(run, output=tmp_path / "page.html")
    assert f"Classes not evaluated: <code>fecnet evaluate {run}</code>" in page
    assert "<h3>Curves</h3>" in page and "<polyline" in page
    assert f"{run}: classes not evaluated: fecnet evaluate {run}\n" in capsys.readouterr().out


def test_a_table_of_an_earlier_checkpoint_is_told(copy, tmp_path):
    run = copy("classifier")
    file = run / "evaluation" / "classes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "iteration": 1}))
    assert "The classes below are of iteration 1; the best checkpoint is now of" in make_page(
        run, output=tmp_path / "page.html"
    )


def test_without_data_a_page_without_faces(copy, tmp_path, capsys):
    run = copy("classifier")
    file = run / "evaluation" / "classes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "data": "/nowhere"}))
    page = make_page(run, output=tmp_path / "page.html")
    assert page.count("No faces on this page: /nowhere: no packed data set here") == 2
    assert "Confusion" in page and "data:image" not in page.split("</head>")[1]
    assert "a page without faces: /nowhere" in capsys.readouterr().out


def test_other_data_under_the_same_name_show_no_faces(copy, tmp_path):
    run = copy("classifier")
    file = run / "evaluation" / "classes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "coverage": {"faces": {"read": 9}}}))
    assert "holds other data than were evaluated" in make_page(run, output=tmp_path / "page.html")


def test_several_runs_stand_side_by_side(runs, tmp_path):
    page = make_page(runs / "classifier", runs / "unmeasured", output=tmp_path / "page.html")
    head, *sections = page.split('<section id="run')
    assert "<h2>Side by side</h2>" in head and len(sections) == 2
    assert head.count("<polyline") == 2 * 5  # loss, learning rate and three metrics of val, of both runs
    assert "The runs differ" not in head
    other = make_page(runs / "classifier", runs / "joint", output=tmp_path / "page.html")
    assert "The runs differ in task: their metrics are not comparable." in other


def test_runs_that_were_measured_on_other_faces_are_told(runs, copy, tmp_path):
    run = copy("classifier")
    file = run / "evaluation" / "classes.json"
    table = json.loads(file.read_text())
    table["splits"]["test"]["total"][0] += 1
    file.write_text(json.dumps(table))
    page = make_page(runs / "classifier", run, output=tmp_path / "page.html")
    assert "The runs differ in numbers of triplets or faces: " in page
    assert f">{run}</a>" in page  # both are named classifier


def test_how_it_was_measured_is_told(runs, copy, tmp_path):
    run = copy("classifier")
    file = run / "evaluation" / "classes.json"
    table = json.loads(file.read_text())
    table["views"] = "ten_crop"
    table["splits"]["test"] |= {"copies_in_training": 5, "training_split": "train"}
    table["splits"]["test"]["without_copies"] = {"accuracy": 12.3, "mean_class_accuracy": 11.1, "macro_f1": 9.9}
    file.write_text(json.dumps(table))
    page = make_page(run, runs / "classifier", output=tmp_path / "page.html")
    assert page.count("mean over the views ten_crop") == 2 and "The runs differ in views" in page
    assert "Without the 5 faces that are also in train, pixel for pixel: accuracy 12.3" in page


def test_other_folds_with_as_many_faces_are_told(runs, copy, tmp_path):
    """The counts are the same: what was cut decides."""
    paths = [copy("classifier"), copy("joint")]
    for number, path in enumerate(paths, 1):
        file = path / "evaluation" / "classes.json"
        table = json.loads(file.read_text())
        table["splits"] = {"fold": table["splits"]["test"]}
        file.write_text(json.dumps(table))
        for meta_file in (path / "checkpoints").glob("[0-9]*/meta.json"):
            meta = json.loads(meta_file.read_text())
            meta["config"]["DATA"]["FOLD"] = number
            meta_file.write_text(json.dumps(meta))
    page = make_page(*paths, output=tmp_path / "page.html")
    assert "folds or held-out faces" in page


def test_the_page_goes_into_the_run_unless_told(copy, capsys):
    run = copy("affect")
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size < 1e6
    assert f"{run / 'report.html'}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics.jsonl", "{}\n", "metrics.jsonl:1: not a line of metrics with an 'iteration': '{}'"),
        ("evaluation/classes.json", "{", "classes.json: not JSON"),
        ("evaluation/classes.json", "[]", "classes.json: found []; allowed: a mapping; evaluate the run again"),
        ("evaluation/classes.json", "{}", "classes.json: lacks 'iteration'; allowed: a whole number"),
        ("evaluation/predictions.npz", "PK", "predictions.npz: not a file of measured faces"),
        ("checkpoints/best", "x", "best: expected an iteration, found 'x'"),
    ],
)
def test_damage_is_one_line(copy, capsys, file, content, said):
    run = copy("classifier")
    (run / file).write_text(content)
    assert main(["report", str(run)]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": np.arange(24)[::-1]}, "'rows' do not increase"),
        ({"label": np.zeros(3, np.int64)}, "arrays of different lengths"),
        ({"probability": np.full((24, 3), np.nan)}, "'probability' is not finite everywhere"),
        ({"rows": np.arange(24) + 1000}, "rows that .* does not have"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(copy, capsys, change, said):
    run = copy("classifier")
    file = run / "evaluation" / "predictions.npz"
    with np.load(file) as held:
        arrays = {**held, **change}
    np.savez(file, **arrays)
    assert main(["report", str(run)]) == 2
    told = capsys.readouterr().err
    assert re.search(said, told) and told.count("\n") == 1


def test_a_line_that_is_being_written_is_left_out(copy, tmp_path):
    run = copy("classifier")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 8, "lo')
    assert "<polyline" in make_page(run, output=tmp_path / "page.html")


def test_no_run_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "no checkpoint here" in capsys.readouterr().err
