"""What README and docs/training.md say is what happens: commands run, tables are the measured ones."""

import doctest
import json
import os
import re
import runpy
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import inference
import train
from fecnet.cli.main import main
from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.nets.shipped import read_card, shipped_names
from fecnet.prepare.synthetic import prepare_synthetic
from tests.conftest import ROOT
from tests.shell_scripts import started_by

SPLITS = ("public_test", "private_test")
README = (ROOT / "README.md").read_text()
TRAINING = (ROOT / "docs" / "training.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for page in (README, TRAINING)
    for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def run(*command, cwd=ROOT, **environment):
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | environment, check=False
    )


def test_make_knows_the_two_commands():
    for target in ("demo", "test"):
        assert f"make {target}" in COMMANDS
        assert run("make", "-n", target).returncode == 0


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """A small synthetic set and settings that make a demo run of seconds."""
    folder = tmp_path_factory.mktemp("demo")
    people = {f"num_{split}_identities": 12 for split in ("train", "val", "test")}
    triplets = {f"num_{split}_triplets": 90 for split in ("train", "val", "test")}
    prepare_synthetic(folder / "demo", **people, **triplets, progress=False)
    return folder, shlex.split(f"DATA.PATH {folder}/demo OUTPUT_DIR {folder}/result SOLVER.LENGTH 3 LOG.PERIOD 1")


def python_commands():
    return [
        command for command in COMMANDS if re.search(r"(train|inference)\.(py|sh)|fecnet (train|evaluate)", command)
    ]


def test_training_and_inference_commands_run(small_demo, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    folder, small = small_demo
    assert len(python_commands()) == 10
    for command in python_commands():
        words = [word.replace("result/", f"{folder}/result/") for word in shlex.split(command)]
        words = ["cpu" if before == "-d" else word for before, word in zip(["", *words], words, strict=False)]
        if "ferplus" in words:  # the same recipe on the data at hand
            words += shlex.split("DATA.EVAL_SPLITS [val] DATA.REPORT_SPLITS [test] MODEL.WIDTH_MULT 0.125")
        words += small
        words = started_by(words, folder) if words[0] == "bash" else words[words[0] != "fecnet" :]
        monkeypatch.setattr(sys, "argv", words)
        programs = {"train.py": train.main, "inference.py": inference.main, "fecnet": lambda: main(sys.argv[1:])}
        code = programs[words[0]]()
        said, errors = capsys.readouterr()
        assert code == 0, f"{command}\n{errors[-2000:]}"
        if "--baselines" in words:
            for name in ("fecnet", "untrained net", "pixel distance", "linear map", "oracle"):
                assert re.search(rf"^{name}( +[0-9.]+){{4}}( +[0-9.-]+){{3}}$", said, re.MULTILINE)
            assert "coverage" in said


@pytest.mark.parametrize("command", [command for command in COMMANDS if "fecnet prepare" in command])
def test_prepare_commands_are_understood(tmp_path, command, capsys):
    assert main(shlex.split(command.replace("datasets/", f"{tmp_path}/"))[1:]) == 2  # …_FOLDER is the user's own
    assert re.fullmatch(r"error: [A-Z0-9]+_FOLDER.*\n", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_show_command_runs(small_demo, capsys):
    (command,) = (command for command in COMMANDS if "data show" in command)
    assert main(shlex.split(command.replace("datasets/ferplus", f"{small_demo[0]}/demo"))[1:]) == 0
    assert "coverage" in capsys.readouterr().out


def table_of(name):
    block = re.search(rf"<!-- {name} table -->(.*?)<!-- /{name} table -->", TRAINING, re.DOTALL)[1]
    rows = re.findall(r"^(\S[a-z A-Z]*?) +([0-9.]+) +([0-9.]+) +([0-9.]+) +([0-9.]+)$", block, re.MULTILINE)
    return {row[0]: [float(cell) for cell in row[1:]] for row in rows}


def test_demo_table_is_the_measured_one():
    measured = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())["measured"]["percent"]
    table = table_of("demo")
    assert table.keys() - {"triplets"} == measured.keys()
    for name, cells in measured.items():
        assert table[name] == [round(cells[row], 1) for row in ("ONE", "TWO", "THREE", "ALL")]


def test_the_demo_is_no_toy():
    """What the synthetic faces must be: solved by who knows them, not by pixels or a linear map."""
    measured = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())["measured"]
    percent = {name: cells["ALL"] for name, cells in measured["percent"].items()}
    assert percent["oracle"] >= 93
    assert percent["linear map"] <= 70
    assert max(percent["untrained net"], percent["pixel distance"]) <= 55
    assert percent["fecnet"] >= 85


def test_ferplus_table_is_the_measured_one():
    measured = json.loads((ROOT / "benchmarks" / "results" / "ferplus.json").read_text())["measured"]["percent"]
    block = re.search(r"<!-- ferplus table -->(.*?)<!-- /ferplus table -->", TRAINING, re.DOTALL)[1]
    rows = re.findall(r"^\| (\S[a-z -]*?) \| ([0-9.]+) \| ([0-9.]+) \|$", block, re.MULTILINE)
    table = {name: [float(public), float(private)] for name, public, private in rows}
    names = measured["private_test"].keys()
    assert table == {name: [round(measured[split][name]["ALL"], 1) for split in SPLITS] for name in names}
    assert measured["public_test"]["fecnet"]["ALL"] >= measured["public_test"]["untrained net"]["ALL"] + 12


def published(recipes):
    """The numbers in the headers of recipes, rounded as in the README."""
    headers = [(ROOT / "config" / f"{name}.yaml").read_text() for name in recipes]
    lines = [re.search(r"^# Published: (.*)$", header, re.MULTILINE)[1] for header in headers]
    return {f"{float(number):.1f}" for number in re.findall(r"\d+\.\d+", " ".join(lines))}


def test_the_results_are_those_of_records_and_recipes():
    block = re.search(r"<!-- results table -->(.*?)<!-- /results table -->", README, re.DOTALL)[1]
    rows = [line.strip("| ").split(" | ") for line in block.strip().splitlines()[2:]]
    card = read_card("fecnet-base")["measured"]["private_test"]["conditions"]["all faces"]
    results = ROOT / "benchmarks" / "results"
    ckplus, ferplus, scaling, growth = (
        json.loads((results / f"{name}.json").read_text())["measured"]
        for name in ("ckplus", "ferplus", "scaling", "growth")
    )
    measured = [card[name]["percent"] for name in ("triplets", "ferplus", "fer")]
    measured += [ckplus["protocols"][name]["mean"]["accuracy"] for name in ("subject", "published")]
    for (_, ours, others), number in zip(rows, [*measured, None, None], strict=True):
        assert re.match(r"not measured|\d+\.\d", ours)[0] == ("not measured" if number is None else f"{number:.1f}")
        recipes = [name for name in re.findall(r"`(\w+)`", others) if (ROOT / "config" / f"{name}.yaml").exists()]
        agreement = f"{ferplus['split_half_agreement_all']['private_test']:.1f}"
        assert set(re.findall(r"\d+\.\d", others)) <= (published(recipes) or {agreement})
        for name in recipes * (number is None):
            assert "# Measured:  not measured" in (ROOT / "config" / f"{name}.yaml").read_text(), name
    assert f"{scaling['speedup']['median']:.2f} times as fast" in README
    largest = growth["triplets"][-1]
    assert f"start in {largest['start_s']:.1f} s with {largest['memory_mb']:.0f} MB" in README


def test_three_lines_with_the_shipped_weights(monkeypatch):
    monkeypatch.chdir(ROOT)
    block = re.search(r"```pycon\n(.*?)```", README, re.DOTALL)[1]
    example = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
    assert len(example.examples) == 3
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


def test_the_picture_shows_triplets_and_other_people(small_demo, tmp_path):
    """With the true expressions as embedding: three people in a row, and neighbours who are none but others."""
    dataset = PackedDataset(small_demo[0] / "demo")
    script = runpy.run_path(str(ROOT / "docs" / "draw_front.py"))
    rows = np.unique(dataset.triplets("test").faces_T3)
    truth_ND = dataset.array("expression")[rows]
    subjects = [row["subject"] for row in face_rows(dataset.path)]
    drawn = list(script["chosen_triplets"](dataset, rows, truth_ND))
    assert drawn
    for faces, odd in drawn:
        assert len({subjects[row] for row in faces}) == 3 and odd in (0, 1, 2)
    near = script["nearest_of_others"](dataset, rows, truth_ND, drawn[0][0][0])
    assert len({subjects[row] for row in [*near, drawn[0][0][0]]}) == 6
    script["draw"](dataset, rows, truth_ND, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as made, Image.open(ROOT / "docs" / "images" / "front.png") as shown:
        assert made.size == shown.size
        assert (np.asarray(made) == script["_ODD"]).all(2).any()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_table_of_shipped_nets_is_that_of_their_cards():
    for name in shipped_names():
        card = read_card(name)
        classes = card["measured"]["private_test"]["conditions"]["all faces"]
        percents = [part["percent"] for part in (classes["triplets"], classes["ferplus"], classes["fer"])]
        cells = [f"{number:.1f}" for number in (card["megabytes"], *percents)]
        assert f"| [{name}](fecnet/nets/{name}/README.md) | {' | '.join(cells)} |" in README
