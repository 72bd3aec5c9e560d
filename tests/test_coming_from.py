"""Every command of ours in docs/coming_from.md, classifiers.md and comparing.md runs: small data, two iterations."""

import re
import shlex
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import inference
import train
from fecnet.cli.main import main as fecnet
from fecnet.config.node import load_config
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.prepare.labelled.ckplus import CKPLUS_CLASSES
from tests.conftest import ROOT
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)
from tests.shell_scripts import started_by
from tests.short_runs import short

PAGES = ("coming_from", "classifiers", "comparing")
PREPARED_ELSEWHERE = {"config/rafdb": "fecnet prepare rafdb RAFDB_FOLDER datasets/rafdb"}  # in another part or page


def parts():
    """The bash commands of each page, in order; coming_from.md by system, since nobody comes from all of them."""
    found = []
    for page in PAGES:
        text = (ROOT / "docs" / f"{page}.md").read_text()
        for number, part in enumerate(text.split("\n## ") if page == "coming_from" else [text]):
            blocks = re.findall(r"^```bash\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
            if blocks:
                commands = [line for block in blocks for line in block.splitlines()]
                found.append(pytest.param(commands, id=f"{page}-{number}"))
    return found


def save(path, seed, side=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(path)


def write_rafdb(folder):
    lines = [f"{split}_{n:05d}.jpg {n % 7 + 1}" for split in ("train", "test") for n in range(42)]
    (folder / "EmoLabel").mkdir(parents=True)
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines))
    for seed, line in enumerate(lines):
        save(folder / "Image" / "aligned" / line.split()[0].replace(".jpg", "_aligned.jpg"), seed, side=100)


def write_fer2013(folder):
    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        lines += [f"{n % 7},{' '.join(map(str, rng.integers(0, 256, 48 * 48)))},{usage}" for n in range(21)]
    folder.mkdir()
    (folder / "fer2013.csv").write_text("\n".join(lines))


def write_ckplus(folder):
    """As many faces of each class as CK+ has: its published folds are for no others."""
    for number, (name, faces) in enumerate(zip(CKPLUS_CLASSES, (135, 177, 75, 207, 84, 249, 54), strict=True)):
        for frame in range(faces):
            save(folder / name / f"S{frame % 40:03d}_{number:03d}_{frame:08d}.png", 1000 * number + frame)


def write_lists(folder):
    """A training list and one for tests beside the pictures they name."""
    for number in range(12):
        save(folder / "PICTURES" / f"{number}.png", number, side=160)
    kinds = ("ONE_CLASS_TRIPLET", "TWO_CLASS_TRIPLET", "THREE_CLASS_TRIPLET")
    rows = [f"{n}.png,{(n + 1) % 12}.png,{(n + 2) % 12}.png,{n % 3 + 1},{kinds[n % 3]}" for n in range(12)]
    for name in ("TRAIN.csv", "TEST.csv"):
        (folder / name).write_text("\n".join(rows))


WIDTH = 0.125  # of ResNet18
WRITERS = {  # what the words in capitals stand for
    "RAFDB_FOLDER": write_rafdb,
    "FER2013_FOLDER": write_fer2013,
    "CKPLUS_FOLDER": write_ckplus,
    "PICTURES": lambda path: write_lists(path.parent),
    "PHOTO.jpg": lambda path: save(path, 0),
    "RESNET18.pth": lambda path: torch.save(ResNet18(in_channels=3, width=WIDTH).state_dict(), path),
}


def make_place(folder, commands):
    """What the commands read, in a folder in which they are run."""
    (folder / "config").symlink_to(ROOT / "config")
    for word, write in WRITERS.items():
        if any(word in command for command in commands):
            write(folder / word)


def narrow(recipe, words):
    """Overrides for a net of few channels: here it counts that commands run, in test_recipes.py nets are whole."""
    backbone = words[words.index("MODEL.BACKBONE") + 1] if "MODEL.BACKBONE" in words else ""
    backbone = backbone or load_config(recipe).MODEL.BACKBONE
    channels = {"resnet18": ["WIDTH_MULT", str(WIDTH)], "vgg16": ["LAYER_CHANNELS", str([8] * 13)]}
    channels["vgg19"] = ["LAYER_CHANNELS", str([8] * 16)]
    if backbone not in channels or "pruned" in recipe.parent.name:
        return []
    key, value = channels[backbone]
    return [f"MODEL.{key}", value]


def run(command, monkeypatch, folder):
    """The command's exit code; trainings are shortened."""
    command = re.sub(r"\$\(cat ([^)]*)\)", lambda found: (folder / found[1]).read_text().strip(), command)
    program, *words = shlex.split(command)
    if program == "fecnet":
        if words[0] == "folds":
            words[2:2] = short(folder / words[1]) + narrow(folder / words[1], words)
        if words[0] == "compare" and words[1].endswith(".yaml"):
            place = words.index("--seeds")
            words[place : place + 2] = [*short(folder / words[1]), "--seeds", "1"]
        return fecnet(words)
    if program == "bash":  # changes into the project's folder, and here there is no GPU
        words[words.index("-d") + 1] = "cpu"
        recipe = folder / words[-1]
        words += [
            *short(recipe),
            *narrow(recipe, words),
            "DATA.PATH",
            f"{folder}/datasets/fec",
            "OUTPUT_DIR",
            f"{folder}/result",
        ]
        monkeypatch.setattr(sys, "argv", started_by(["bash", *words], folder))
        assert sys.argv == ["train.py", *words[words.index("-d") + 2 :]]
        return train.main()
    assert program == "python", command
    script = {"train.py": train, "inference.py": inference}[words[0]]
    if script is train:
        words += short(folder / words[1]) + narrow(folder / words[1], words)
    monkeypatch.setattr(sys, "argv", words)
    return script.main()


def test_all_parts_are_there():
    assert [len(part.values[0]) > 1 for part in parts()] == [True] * 7


@pytest.mark.usefixtures("inline_runs")
@pytest.mark.parametrize("commands", parts())
def test_commands_run(commands, tmp_path, monkeypatch, capsys):
    for recipes, prepare in PREPARED_ELSEWHERE.items():
        if any(recipes in command for command in commands) and prepare not in commands:
            commands = [prepare, *commands]
    monkeypatch.chdir(tmp_path)
    make_place(tmp_path, commands)
    for command in commands:
        code = run(command, monkeypatch, tmp_path)
        assert code == 0, f"{command}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", [*PAGES, "pruning"])
def test_keys_recipes_and_links_are_there(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    known = (ROOT / "docs" / "config.md").read_text()
    keys = set(re.findall(r"\b(?:DATA|AUGMENT|MODEL|LOSS|SOLVER|EVAL|CHECKPOINT|LOG)\.[A-Z_]+[A-Z0-9]", text))
    assert keys and not {key for key in keys if f"`{key}`" not in known}
    assert all((ROOT / recipe).is_file() for recipe in re.findall(r"config/[a-z0-9_]+\.yaml", text))
    for page, _, anchor in re.findall(r"\]\(([^)#:]+)(#([^)]*))?\)", text):
        assert (ROOT / "docs" / page).exists()
        titles = re.findall(r"^#+ (.*)$", (ROOT / "docs" / page).read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
