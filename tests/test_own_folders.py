"""The commands of docs/own_folders.md, one after the other, on a small folder of people and expressions."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.data.face_rows import face_rows
from fecnet.data.folds import FoldRule
from fecnet.data.label_splits import LabelSplits
from fecnet.data.packed import PackedDataset
from tests.conftest import ROOT
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)

FOLDS, SPLIT = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "own_folders.md").read_text(), re.DOTALL)
SMALL = shlex.split("SOLVER.LENGTH 1 SOLVER.BATCH_SIZE 8 SOLVER.WARMUP 0 MODEL.WIDTH_MULT 0.125 LOG.TENSORBOARD false")
EXPRESSIONS = ("angry", "happy", "neutral")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two photos of ten people for each of three expressions, of any size."""
    rng = np.random.default_rng(0)
    for person in ("Ann", "Bo", "Cy", "Dee", "Eli", "Flo", "Gus", "Hal", "Ida", "Jo"):
        for place, word in enumerate(EXPRESSIONS):
            (tmp_path / "photos" / person / word).mkdir(parents=True)
            for k in range(2):
                pixels = np.clip(60 + 60 * place + rng.integers(-40, 40, (60, 50, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / person / word / f"{k}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(block):
    """Each command, nets as small as can be."""
    for command in block.strip().splitlines():
        program, name, *words = shlex.split(command)
        assert program == "fecnet"
        assert main([name, *(words[:1] + SMALL + words[1:] if name in ("folds", "train") else words)]) == 0


def subjects(dataset, table):
    records = list(face_rows(dataset.path))
    return {records[row]["subject"] for row in table.faces_M.tolist()}


@pytest.mark.slow
@pytest.mark.usefixtures("inline_runs")
def test_folds_have_nobody_on_both_sides(photos, capsys):
    run(FOLDS.replace("NUM_FOLDS 5", "NUM_FOLDS 2"))
    found = json.loads((photos / "result/own_folds/folds.json").read_text())
    assert [fold["seen_subjects"] for fold in found["folds"]] == [0] * 2
    assert found["tested"]["once"] == dict.fromkeys(EXPRESSIONS, 20)
    dataset, tested = PackedDataset("datasets/own"), []
    for fold in (1, 2):
        rule = FoldRule("subject", num_folds=2)
        splits = LabelSplits(dataset, "label", train_split="all", fold=fold, folds=rule)
        learnt, held = subjects(dataset, splits.table("all")), subjects(dataset, splits.table("fold"))
        assert not learnt & held and len(learnt | held) == 10
        tested += [*held]
    assert len(tested) == len({*tested}) == 10
    assert "folders read as subject/class" in capsys.readouterr().out


def test_one_split_has_nobody_on_both_sides(photos, capsys):
    run(SPLIT)
    said = capsys.readouterr().out
    assert "train 7 people (42 pictures), val 1 person (6 pictures), test 2 people (12 pictures)" in said
    for pair in ("train and test", "train and val", "test and val"):
        assert f"subjects in {pair}: 0\n" in said
    assert "WARNING" not in said
    dataset = PackedDataset("datasets/own_split")
    people = [subjects(dataset, dataset.labels("label", split)) for split in ("train", "val", "test")]
    assert sum(map(len, people)) == len(set.union(*people)) == 10
    table = json.loads((photos / "result/own_split/evaluation/classes_test.json").read_text())
    assert sum(table["splits"]["test"]["total"]) == 12
