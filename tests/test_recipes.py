"""Every recipe in config/ loads, builds, trains on faces that have what it reads, and states its source."""

import argparse
import re
import shlex

import pytest
from safetensors.torch import save_file

from fecnet.cli import prepare
from fecnet.config.node import load_config
from fecnet.data.build import build_augment
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import build_criterion
from fecnet.pruning.slimming import scale_names
from fecnet.runs.training import train_run
from fecnet.solver.build import build_ema, build_gradient_rules, build_optimizer, build_schedule
from tests.conftest import ROOT
from tests.short_runs import SETS, short, write_faces

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
RECIPES = sorted((ROOT / "config").glob("*.yaml"))
OF_SOURCES = [
    path for path in RECIPES if path.stem.startswith(("rafdb_", "fer2013_", "ferplus_", "ckplus_", "affectnet_"))
]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_builds(path):
    cfg = load_config(path)
    model = build_model(cfg, in_channels=3, num_classes=len(CLASSES))
    optimizer = build_optimizer(cfg, model)
    assert optimizer.param_groups
    schedule = build_schedule(cfg, iterations_per_epoch=100)
    assert 0 < schedule.factor(1) <= 1
    build_criterion(cfg, CLASSES)
    build_gradient_rules(cfg, scale_names(model.channel_groups()))
    build_ema(cfg, model)
    build_augment(cfg, ["R", "G", "B"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_command_and_figures(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("Command:" in line for line in header)
    assert any("Measured:" in line for line in header)
    assert any(re.search(rf"\b{path.stem}\b", line) or path.stem == "demo" for line in header)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_trains(path, tmp_path):
    data = write_faces(tmp_path / "data", path)
    options = [*short(path), "DATA.PATH", str(data), "OUTPUT_DIR", str(tmp_path / "result")]
    cfg = load_config(path, options)
    if cfg.MODEL.HEAD == "deviation":  # never starts from random weights
        start = tmp_path / "start.safetensors"
        save_file(build_model(cfg, in_channels=len(SETS[cfg.DATA.LABELS][1])).backbone.state_dict(), start)
        cfg = load_config(path, [*options, "MODEL.PRETRAINED", str(start), "MODEL.PRETRAINED_ON", "noise"])
    assert train_run(cfg, recipe=path.stem) == 0
    assert (tmp_path / "result" / path.stem / "checkpoints" / "last").read_text().split() == ["2"]


def test_recipes_of_the_source_systems_are_there():
    names = {path.stem for path in OF_SOURCES}
    assert names >= {f"rafdb_{name}" for name in ("baseline", "scn", "ran", "scn_ran", "wasserstein")}
    assert names >= {f"fer2013_{name}" for name in ("vgg19", "resnet18", "deep_emotion", "cpu")}
    assert names >= {"ferplus_resnet18", "ferplus_joint", "ckplus_vgg19", "ckplus_resnet18", "affectnet_resnet18"}


@pytest.mark.parametrize("path", OF_SOURCES, ids=lambda path: path.stem)
def test_header_of_a_source_system(path):
    """Its parts are all there, its data command is one and makes the set that the recipe reads."""
    header = dict(re.findall(r"^# ([A-Z][a-z]+): +(\S.*)$", path.read_text(), re.MULTILINE))
    assert header.keys() >= {"Source", "Data", "Command", "Selection", "Cost", "Published", "Measured"}
    assert path.stem in header["Command"].split()
    parser = argparse.ArgumentParser()
    prepare.add(parser)
    fecnet, command, *arguments = shlex.split(header["Data"])
    assert (fecnet, command) == ("fecnet", "prepare")
    assert str(parser.parse_args(arguments).path) == load_config(path).DATA.PATH


@pytest.mark.parametrize("path", OF_SOURCES, ids=lambda path: path.stem)
def test_what_selects_is_not_all_that_is_reported(path):
    cfg = load_config(path)
    if cfg.EVAL.BEST_METRIC == "last":
        assert cfg.SOLVER.SCHEDULE != "plateau"  # nor is the rate chosen by what is reported
    else:
        assert set(cfg.DATA.REPORT_SPLITS) - {cfg.DATA.EVAL_SPLITS[0]}


@pytest.mark.parametrize("path", [path for path in RECIPES if path.stem.startswith(("fec_paper_", "fec_deviation"))])
def test_each_value_of_a_paper_says_where_it_is_from(path):
    """A source of the header, "as recalled" where none is known, or "our choice"; and test selects nothing."""
    header, _, body = path.read_text().partition("\nDATA:")
    known = set(re.findall(r"\[(\d)\] ", header))
    plain = ("PATH", "EVAL_SPLITS", "REPORT_SPLITS", "UNIT", "PRETRAINED", "PRETRAINED_ON")  # say what, not how
    for line in body.splitlines()[1:]:
        value, _, said = line.partition("#")
        if re.match(r"( *)([A-Z]\w+): *\S", value) and value.split(":")[0].strip() not in plain:
            cited = re.findall(r"\[(\d)\]", said)
            assert set(cited) <= known, line
            assert cited or re.search(r"as recalled|our choice|arXiv:", said), line
    cfg = load_config(path)
    assert cfg.DATA.EVAL_SPLITS == ["hold_out"] and cfg.DATA.REPORT_SPLITS == ["test"]
