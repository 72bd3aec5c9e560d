"""The scripts in examples/: short, with help, of public names, and each does what it says on pictures made here."""

import ast
import re
import runpy
import shlex

import numpy as np
import pytest
from PIL import Image

from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.rate.study import Study
from tests.conftest import ROOT
from tests.faces.test_extract import Squares, photo
from tests.nets import noisy
from tests.short_runs import TWO_ITERATIONS

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
CLASSES = ("angry", "happy", "sad")
SMALL = [*TWO_ITERATIONS, *shlex.split("MODEL.WIDTH_MULT 0.125 DATA.INPUT_SIZE 32 DATA.EVAL_SPLITS [train]")]


def run(name, *arguments):
    """A script with these arguments, in this process; skips where a package of another project is absent."""
    path = ROOT / "examples" / f"{name}.py"
    for package in re.findall(r"^from (matplotlib|sklearn)\b", path.read_text(), re.MULTILINE):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'fecnet[viz]'")
    runpy.run_path(str(path))["main"]([*map(str, arguments)])


@pytest.fixture
def photos(tmp_path, monkeypatch, no_square):
    """``photos/<class>/*.png``: fifty of each class with a bright square, which is a face to the detector here."""
    for module in ("fecnet.encoder.face_maker", "fecnet.faces.recipe"):
        monkeypatch.setattr(f"{module}.build_detector", lambda *_, **__: Squares())
    monkeypatch.setattr("fecnet.prepare.extraction._SHARD", 1000)  # one: it is this process that cuts
    for module in ("triplet_report", "reports"):  # figures of evaluations have their own tests
        monkeypatch.setattr(f"fecnet.runs.{module}.can_plot", lambda: False)
    for number in range(150):
        folder = tmp_path / "photos" / CLASSES[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = noisy(photo((4, 4), sides=[40 + 20 * (number % 3)])[:90, :90], number)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_there_are_five():
    assert [path.stem for path in SCRIPTS] == [
        *("expression_curve", "features_in_scikit_learn", "fine_tune", "neighbours", "rating_loop")
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_short_and_say_what_they_show(path, capsys):
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    tree = ast.parse(text)
    assert f"python examples/{path.name} " in ast.get_docstring(tree)
    added = [node for node in ast.walk(tree) if getattr(getattr(node, "func", None), "attr", "") == "add_argument"]
    assert added and all("help" in {keyword.arg for keyword in node.keywords} for node in added)
    with pytest.raises(SystemExit):
        run(path.stem, "--help")
    assert ast.get_docstring(tree).splitlines()[0] in capsys.readouterr().out


def test_scripts_use_public_names():
    public = (ROOT / "docs" / "api.md").read_text()
    for path in SCRIPTS:
        for module, names in re.findall(r"^from (fecnet\.\S+) import (.*)$", path.read_text(), re.MULTILINE):
            for name in names.split(", "):
                assert re.search(rf"\b{module}\.{name.split(' as ')[0]}\b", public), f"{path.name}: {module}.{name}"


def test_neighbours(photos, capsys):
    Image.new("L", (90, 90)).save(photos / "empty.png")
    run("neighbours", photos, "-k", 2, "--net", "fecnet-small")
    left_out, *lines = capsys.readouterr().out.splitlines()
    assert left_out == "empty.png: left out: no_face"
    rows = [re.fullmatch(r"(\S+)  (\S+) (\d\.\d\d)  (\S+) (\d\.\d\d)", line).groups() for line in lines]
    assert len(rows) == 150
    assert all(len({own, first, second}) == 3 and near <= far for own, first, near, second, far in rows)
    with pytest.raises(SystemExit):
        run("neighbours", photos.parent / "nothing")
    assert "no photo" in capsys.readouterr().err


def test_expression_curve(photos, tmp_path, monkeypatch):
    from tests.videos import write_video  # skips where PyAV is absent

    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    write_video(tmp_path / "video.avi", [photo((20 + number, 30), sides=[60]) for number in range(6)], 10)
    drawn, save = [], figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *how: (drawn.extend(self.axes), save(self, *how)))
    run("expression_curve", "video.avi", "--every", 2, "--net", "fecnet-small")
    (axes,) = drawn
    assert len(axes.lines) == 8 and axes.lines[0].get_label() == "neutral"
    assert axes.lines[0].get_xdata().tolist() == pytest.approx([0, 0.2, 0.4])
    assert np.sum([line.get_ydata() for line in axes.lines], axis=0) == pytest.approx(np.ones(3), abs=1e-5)
    assert (tmp_path / "curve.png").is_file()


@pytest.mark.slow
def test_fine_tuning_begins_with_the_shipped_net_and_holds_people_out(photos, tmp_path, capsys):
    rows = [
        f"photos/{path.parent.name}/{path.name},{path.parent.name},P{int(path.stem) // 12}"
        for path in photos.glob("*/*")
    ]
    (tmp_path / "faces.csv").write_text("\n".join(["path,label,subject", *rows]))
    run("fine_tune", "faces.csv", "moods", *TWO_ITERATIONS)
    said = capsys.readouterr().out
    assert re.search(r"fecnet-small/model\.safetensors: \d+ tensors loaded", said) and "missing: none" in said
    info = load_info(find_checkpoint(tmp_path / "result" / "moods", "last"))
    assert info.classes == [*CLASSES] and info.pretraining == "FERPlus"
    table = re.search(r"^accuracy.*", said, re.MULTILINE)
    assert table, said


def test_features_of_a_net_tell_squares_of_three_sizes(photos, capsys):
    run("features_in_scikit_learn", photos, "--folds", 2, "--net", "fecnet-small", "--faces", "whole")
    said = capsys.readouterr().out
    assert said.startswith("150 faces in 150 photos\n")
    percents = dict(re.findall(r"^(\w+): accuracy ([\d.]+) %, sd over folds [\d.]+$", said, re.MULTILINE))
    assert percents.keys() == {"embedding", "feature"} and float(percents["feature"]) > 60


@pytest.mark.slow
def test_rating_loop(photos, tmp_path, capsys):
    run("rating_loop", "photos", "moods", "--rounds", 2, *SMALL)
    said = capsys.readouterr().out
    assert "round 2, informative: " in said and said.count("split-half agreement") >= 2
    with Study("moods") as study:
        assert study.one("SELECT count(*) FROM raters")[0] == 6
        assert study.one("SELECT max(round) FROM triplets")[0] == 2
    first, second = (len(PackedDataset(f"datasets/moods-{number}").triplets("train")) for number in (1, 2))
    assert second > first > 0
    assert (tmp_path / "result/moods-2/evaluation/triplets.json").is_file()
