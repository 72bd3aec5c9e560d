"""Every command of docs/pruning.md runs, on random faces, with a narrow net, for two iterations."""

import re
import shlex
from pathlib import Path

from benchmarks.pruning import PLANS
from fecnet.cli.main import main as fecnet
from fecnet.config.node import load_config
from tests.conftest import ROOT
from tests.short_runs import TWO_ITERATIONS, short, write_faces

PAGE = (ROOT / "docs" / "pruning.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def unrolled(block):
    """The commands of a block; a loop over steps as the shell would run it."""
    loop = re.fullmatch(r"run=(\S+)\nfor step in ([\d ]+); do\n(.*)  run=(\S+)\ndone\n", block, re.DOTALL)
    if loop is None:
        return block.splitlines()
    run, steps, body, following = loop.groups()
    lines = []
    for step in steps.split():
        lines += [line.strip().replace("$run", run).replace("$step", step) for line in body.splitlines()]
        run = following.replace("$step", step)
    return lines


def test_every_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    data = write_faces(tmp_path / "data", ROOT / "config" / "fer2013_vgg19.yaml")
    narrow = ["DATA.PATH", str(data), "MODEL.LAYER_CHANNELS", str([8] * 16)]
    commands = [line for block in BLOCKS for line in unrolled(block)]
    assert len(commands) == 5 + 2 + 6
    for line in commands:
        name, *arguments = shlex.split(line.replace("/checkpoints/912/", "/checkpoints/2/"))
        if name == "fecnet":
            assert fecnet(arguments) == 0, line
        elif arguments[0] == "train.py":
            recipe = Path(arguments[1])
            settings = [*narrow, *short(recipe)] if recipe.parent.name == "config" else TWO_ITERATIONS
            assert fecnet(["train", *arguments[1:], *settings]) == 0, line
        else:
            assert fecnet(["evaluate", *arguments[1:]]) == 0, line
    runs = {path.name for path in (tmp_path / "result").iterdir()}
    assert runs >= {"fer2013_vgg19-pruned-tuned", "same", "slim-3-tuned"}


def test_the_iteration_named_is_that_of_the_recipe():
    recipe = ROOT / "config" / "fer2013_vgg19_cpu.yaml"
    solver, faces = load_config(recipe).SOLVER, 28709 - 25121  # without those that it holds out
    assert f"/checkpoints/{solver.LENGTH * -(-faces // solver.BATCH_SIZE):.0f}/" in PAGE
    tune = " ".join(PLANS["vgg19"].tune)
    assert f" {tune} MODEL" in PAGE and f" {tune}\n" in recipe.read_text()
