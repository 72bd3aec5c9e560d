"""What docs/using.md shows runs: its Python, and its commands on small data."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.analysis.following import Peak, Track
from fecnet.analysis.reading import FaceRow
from fecnet.analysis.three import OddOne
from fecnet.cli.main import main
from fecnet.embed.videos import Video
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_maker import PhotoFace
from fecnet.encoder.results import Classified, Encoded, FaceResult
from tests.conftest import ROOT
from tests.faces.test_extract import photo
from tests.net_fixtures import aligned, squares  # noqa: F401  (fixtures)
from tests.videos import write_video  # skips where PyAV is absent

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra 'export' is not installed")
from tests.traced_once import traced_once  # noqa: E402, F401  (a fixture)

PAGE = (ROOT / "docs" / "using.md").read_text()


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_is_what_happens(aligned, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr("fecnet.watch.watch.why_no_window", lambda: "a test")
    run, _, pictures, _ = aligned
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "result/run")
    shutil.copytree("pictures", "photos")
    shutil.copytree("set", "datasets/set")
    for name, picture in zip("abc", pictures, strict=False):
        shutil.copy(picture, f"{name}.png")
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save("empty.png")
    (tmp_path / "photos.txt").write_text("a.png\nempty.png\nphotos/3.png\n")
    write_video(tmp_path / "video.avi", 11)
    write_video(tmp_path / "talk.avi", [photo((20 + k, 40)) for k in range(9)], 10)

    told = {}
    assert len(blocks("python")) == 5
    for block in blocks("python")[:4]:
        exec(block, told)
    assert told["odd"] in (0, 1, 2)
    assert told["vectors"].shape == (3, 16) and told["keep"][1] == ["ok", "no_face", "ok"]
    assert told["seen"][:2] == (0.8, 1)
    for result in (Encoded, Classified, PhotoFace, FaceResult, FaceRow, Track, Peak, OddOne):
        fields = getattr(result, "_fields", None) or result.__dataclass_fields__
        assert all(f"`{name}`" in PAGE for name in fields), result
    for name in re.findall(r"`enc\.([a-z_]+)", PAGE):
        assert hasattr(told["enc"], name), name
    assert all(f"enc.{name}" in PAGE for name in vars(Encoder) if not name.startswith(("_", "check", "dims")))

    *others, _ = blocks("bash")  # the last is of the test below
    commands = [command for block in others for command in block.splitlines()]
    assert len(commands) == 18
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "fecnet" and main(words) == 0, f"{command}\n{capsys.readouterr().err}"
    assert np.load("embeddings.npy").shape == (5, 16) and np.load("features.npy").shape == (3, 16)
    assert len(list((tmp_path / "vectors").glob("*.png.npy"))) == 5
    assert len((tmp_path / "set.csv").read_text().splitlines()) == 6
    assert len((tmp_path / "video.csv").read_text().splitlines()) == 4
    assert not list(tmp_path.glob("*.shards"))
    assert Image.open("photos/0.watched.png").size == Image.open("photos/0.png").size
    assert len((tmp_path / "faces.csv").read_text().splitlines()) == 3
    assert Video("marked.mp4").announced == 6
    assert [len(answer["neighbours"]) for answer in json.loads(Path("found.json").read_text())["answers"]] == [5, 5]
    assert len(rows_of("analysis.csv")) == 8 and {row["track"] for row in rows_of("talk.csv")} == {"1"}
    documented = re.findall(r"`([a-z_0-9]+)`", PAGE[PAGE.index("| column |") : PAGE.index("**Tracks.**")])
    assert set(rows_of("talk.csv")[0]) - {f"embedding_{d}" for d in range(1, 16)} <= {*documented}
    assert json.loads(Path("odd.json").read_text())["odd"] == told["odd"] and Path("talk.png").is_file()
    assert Path("found.png").is_file() and Path("measured.json").is_file()


@pytest.mark.usefixtures("traced_once")
def test_exported_nets_are_used_as_the_page_says(aligned, tmp_path, monkeypatch, capsys):  # noqa: F811
    run, _, pictures, _ = aligned
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "result/run")
    shutil.copytree("pictures", "photos")
    for name, picture in zip("abc", pictures, strict=False):
        shutil.copy(picture, f"{name}.png")
    commands = blocks("bash")[-1].splitlines()
    assert len(commands) == 6
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "fecnet" and main(words) == 0, f"{command}\n{capsys.readouterr().err}"
    said = capsys.readouterr().out
    assert said.count("largest difference") == 5 and np.load("int8.npy").shape == (5, 16)
    expected = fecnet.load("result/run").embed(pictures)
    for name in ("result/run-bundle", "result/run.onnx", "raw.onnx"):
        assert np.abs(fecnet.load(name).embed(pictures) - expected).max() <= 1e-5, name
    exec(blocks("python")[4], {"fecnet": fecnet})
