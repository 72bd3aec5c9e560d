"""What docs/tutorials and docs/data_and_ethics.md show: commands that run, recipes that are there, measured numbers."""

import json
import re
import shlex
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.config.recipes import find_recipe
from fecnet.nets.shipped import read_card
from fecnet.prepare.writer import PackedWriter
from fecnet.web.extra import check_web
from tests.conftest import ROOT
from tests.faces.test_extract import Squares, photo
from tests.nets import noisy
from tests.rate.studies import write_classes

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
RESULTS = ROOT / "benchmarks" / "results"


def page(name):
    return (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()


def blocks(text, language="bash"):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def measured(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def rows(text):
    """The cells of all rows of tables, by the first cell."""
    cells = [
        [cell.strip(" `") for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    return {first: rest for first, *rest in cells}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_are_short_and_their_recipes_are_there(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 105
    for block in blocks(text):
        for words in map(shlex.split, block.splitlines()):
            at = [word for before, word in pairwise(words) if before in ("train", "train.py", "compare")]
            for recipe in at:
                if not recipe.startswith("result/"):
                    assert find_recipe(recipe).is_file(), recipe


def record_of(text, name):
    """Says which commit and day a page names for a record."""
    found = measured(name)
    assert f"`python -m benchmarks {name}`, {found['date']}, commit {found['hardware']['commit']}" in " ".join(
        text.split()
    )
    return found["measured"]


def test_photos(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fecnet.encoder.face_maker.build_detector", lambda *_, **__: Squares())
    (tmp_path / "photos").mkdir()
    for number, name in enumerate("abcdefgh"):
        pixels = noisy(photo((20 + 10 * number, 30), sides=[50 + 5 * number]), number)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks(page("photos")) for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "fecnet" and main(words) == 0, capsys.readouterr().err
    assert np.load("vectors.npy").shape == (8, 16) and (tmp_path / "found.png").is_file()
    assert "odd one out: photos/" in capsys.readouterr().out


def test_the_study_of_the_page_is_made_and_the_shipped_net_judges_its_triplets(tmp_path, monkeypatch, capsys):
    check_web()
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "photos", {"angry": 30, "happy": 30, "sad": 30})
    commands = [line for block in blocks(page("own_triplets")) for line in block.splitlines()]
    asked = [
        command for command in commands if command.startswith(("fecnet rate new", "fecnet rate inv", "fecnet rate st"))
    ]
    assert len(asked) == 3
    for command in asked:
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert re.search(r"typed: 300 triplets \(\d+ one-class, \d+ two-class, \d+ three-class\)", capsys.readouterr().out)
    with PackedWriter("datasets/mine", num_faces=6, height=48, width=48, channels=["grey"]) as writer:
        faces = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 1), np.uint8)
        writer.add_faces(faces, [{"key": str(k), "source": str(k)} for k in range(6)])
        trios = {"faces_T3": np.array([[0, 1, 2], [3, 4, 5]]), "odd_T": np.array([0, 1]), "type_T": np.zeros(2, int)}
        writer.add_triplets("test", **trios, votes_T3=np.eye(3, dtype=int)[:2])
        writer.set_coverage({})
    (snippet,) = blocks(page("own_triplets"), "python")
    exec(snippet, {})
    assert re.search(r"^fecnet-base: \d+\.0 % of 2 test triplets$", capsys.readouterr().out, re.MULTILINE)


def test_numbers_of_scn_are_the_measured_ones():
    text = page("scn")
    over_seeds = record_of(text, "relabelling")["over_seeds"]
    table = rows(text)
    for name, found in over_seeds["percent"].items():
        cells = [f"{found[split]['mean']:.1f} ± {found[split]['sd']:.1f}" for split in ("public_test", "private_test")]
        assert table[name] == cells
    labels = {name: found["mean"] for name, found in over_seeds["labels"].items()}
    assert f"Of {labels['labels']:,.0f} labels, {labels['relabelled']:,.0f} were changed" in text
    for name in ("of_these_wrong_before_percent", "of_these_right_after_percent", "wrong_at_the_end_percent"):
        assert f"{labels[name]:.0f} %" in text


def test_numbers_of_schedules_are_the_measured_ones():
    text = page("schedules")
    found = record_of(text, "schedules")
    table = rows(text)
    for name in ("cosine", "step"):
        assert table[name] == [f"{percent:.1f}" for percent in found["percent"][name]["private_test"].values()]
    (difference,) = found["differences"]
    assert table["difference"] == [f"{points:.1f}" for points in difference["by_seed"].values()]
    low, high = (difference["mean"] + side * difference["margin"] for side in (-1, 1))
    assert f"`cosine better than step by {difference['mean']:.2f} (interval {low:.2f} to {high:.2f})`" in text
    assert f"between {low:.1f} and {high:.1f} points" in " ".join(text.split())


def test_numbers_of_pruning_are_the_measured_ones():
    text = page("prune_and_export")
    found = record_of(text, "pruning")["vgg19"]
    expected = {"none": found["whole"] | {"tuned": found["percent_tuned"]["not pruned"]}}
    for ratio, cells in found["ratios"].items():
        expected[f"{float(ratio):.0%}".replace("%", " %")] = cells | {"tuned": found["percent_tuned"][ratio]}
    table = rows(text)
    for name, cells in expected.items():
        assert table[name] == [
            f"{cells['parameters']:,}",
            f"{cells['ms']:.1f}",
            f"{cells['tuned']['private_test']:.1f}",
        ]


def test_numbers_of_runs_that_were_killed_are_the_measured_ones():
    found = record_of(page("many_gpus"), "survive")["killed_and_resumed"]
    assert f"of {found['kills']} that were killed at random, {found['equal']} did" in " ".join(
        page("many_gpus").split()
    )


def test_what_is_known_of_errors_is_what_the_card_says():
    text = (ROOT / "docs" / "data_and_ethics.md").read_text()
    split = read_card("fecnet-base")["measured"]["private_test"]
    block = re.search(r"<!-- conditions table -->(.*?)<!-- /conditions table -->", text, re.DOTALL)[1]
    table = rows(block)
    for name, parts in split["conditions"].items():
        assert table.pop(name) == [f"{parts[of]['percent']:.1f}" for of in ("triplets", "ferplus")]
    assert table.keys() == {"faces", "---"}
    assert (
        "73.7 %" in text and (ROOT / "fecnet/nets/fecnet-base/README.md").read_text().count("ALL: percent 73.7,") == 1
    )
