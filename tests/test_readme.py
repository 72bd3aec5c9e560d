"""What the README says is what happens: its commands run, its tables are the measured ones."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

import inference
import train
from fecnet.cli.main import main
from fecnet.nets.shipped import read_card, shipped_names
from fecnet.prepare.synthetic import prepare_synthetic
from tests.conftest import ROOT
from tests.shell_scripts import started_by

SPLITS = ("public_test", "private_test")
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
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
    return [command for command in COMMANDS if re.search(r"(train|inference)\.(py|sh)", command)]


def test_training_and_inference_commands_run(small_demo, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    folder, small = small_demo
    assert len(python_commands()) == 8
    for command in python_commands():
        words = [word.replace("result/demo", f"{folder}/result/demo") for word in shlex.split(command)]
        words = ["cpu" if before == "-d" else word for before, word in zip(["", *words], words, strict=False)]
        if "config/ferplus.yaml" in words:  # the same recipe on the data at hand
            words += shlex.split("DATA.EVAL_SPLITS [val] DATA.REPORT_SPLITS [test] MODEL.WIDTH_MULT 0.125")
        words += small
        words = started_by(words, folder) if words[0] == "bash" else words[1:]
        monkeypatch.setattr(sys, "argv", words)
        code = {"train.py": train, "inference.py": inference}[words[0]].main()
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
    block = re.search(rf"<!-- {name} table -->(.*?)<!-- /{name} table -->", README, re.DOTALL)[1]
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
    block = re.search(r"<!-- ferplus table -->(.*?)<!-- /ferplus table -->", README, re.DOTALL)[1]
    rows = re.findall(r"^\| (\S[a-z -]*?) \| ([0-9.]+) \| ([0-9.]+) \|$", block, re.MULTILINE)
    table = {name: [float(public), float(private)] for name, public, private in rows}
    names = measured["private_test"].keys()
    assert table == {name: [round(measured[split][name]["ALL"], 1) for split in SPLITS] for name in names}
    assert measured["public_test"]["fecnet"]["ALL"] >= measured["public_test"]["untrained net"]["ALL"] + 12


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
