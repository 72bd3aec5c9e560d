"""Every recipe in config/ loads, builds a net, an optimizer and a schedule, and states its source."""

import pytest

from fecnet.config.node import load_config
from fecnet.data.build import build_augment
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import build_criterion
from fecnet.solver.build import build_ema, build_gradient_rules, build_optimizer, build_schedule
from tests.conftest import ROOT

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
RECIPES = sorted((ROOT / "config").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_builds(path):
    cfg = load_config(path)
    model = build_model(cfg, in_channels=3, num_classes=len(CLASSES))
    optimizer = build_optimizer(cfg, model)
    assert optimizer.param_groups
    schedule = build_schedule(cfg, iterations_per_epoch=100)
    assert 0 < schedule.factor(1) <= 1
    build_criterion(cfg, CLASSES)
    build_gradient_rules(cfg)
    build_ema(cfg, model)
    build_augment(cfg, ["R", "G", "B"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_command_and_figures(path):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("Command:" in line for line in header)
    assert any("Measured:" in line for line in header)
    assert any(path.name in line or path.stem == "demo" for line in header)
