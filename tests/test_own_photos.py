"""The commands of docs/own_photos.md, one after the other, on a small folder of photos with a list."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.prepare import extraction
from tests.conftest import ROOT
from tests.faces.test_extract import photo
from tests.net_fixtures import squares  # noqa: F401  (a fixture)
from tests.nets import noisy

PAGE = (ROOT / "docs" / "own_photos.md").read_text()
COMMANDS = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).splitlines()
SMALL = shlex.split(
    "SOLVER.LENGTH 2 SOLVER.BATCH_SIZE 6 SOLVER.LABELLED_BATCH_SIZE 6 SOLVER.WARMUP 0 EVAL.PERIOD 2 "
    "MODEL.WIDTH_MULT 0.125 MODEL.NECK_CHANNELS 16 MODEL.FEATURE_DIM 16 LOG.TENSORBOARD false DEVICE cpu"
)
FEWER = {"--triplets": "60", "--eval-triplets": "20"}


@pytest.fixture
def photos(tmp_path, monkeypatch, squares):  # noqa: F811
    """Photos of ten people with three expressions each, one of them without a face."""
    (tmp_path / "photos").mkdir()
    rows = ["path,label,subject"]
    for number in range(60):
        corners = [(20 + number, 30)] if number != 7 else []
        image_HWC = noisy(photo(*corners, sides=[60] * len(corners)), number)
        Image.fromarray(image_HWC).save(tmp_path / f"photos/{number}.png")
        rows.append(f"photos/{number}.png,{('angry', 'happy', 'sad')[number % 3]},P{number // 6}")
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    Image.fromarray(noisy(photo((50, 50), sides=[70]), 99)).save(tmp_path / "new.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extraction, "_SHARD", 60)  # one: it is this process that cuts, with the detector put in place
    return tmp_path


def run(command):
    """A command of the page, with fewer triplets and a net as small as can be."""
    program, name, *words = shlex.split(command)
    assert program == "fecnet"
    words = [FEWER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    assert main([name, *words, *(SMALL if name == "train" else [])]) == 0, command


def test_the_page_is_what_happens(photos, capsys):
    assert len(COMMANDS) == 8 + COMMANDS.count("")
    said = {}
    for command in filter(None, COMMANDS):
        run(command)
        said[" ".join(command.split()[1:3])] = capsys.readouterr().out
    assert "fecnet prepare csv photos.csv" in said["prepare auto"]
    assert "no_face 1" in said["prepare csv"]
    assert "subjects in train and test: 0\n" in said["data show"]
    assert "subject" in said["search measure"]
    dataset = PackedDataset("datasets/own_photos")
    assert dataset.description["faces"]["align"] and len(dataset.faces_NHWC) == 59
    people = [row["subject"] for row in face_rows(dataset.path)]
    sides = [{people[row] for row in dataset.labels("label", split).faces_M} for split in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10
    table = json.loads((photos / "result/own_photos/evaluation/classes_test.json").read_text())
    assert np.sum(table["splits"]["test"]["total"]) == len(dataset.labels("label", "test").faces_M)
    assert (photos / "result/own_photos/evaluation/neighbours.png").is_file()
    assert (photos / "neighbours.png").is_file()
