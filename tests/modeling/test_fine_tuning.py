"""A backbone from one run into another: loaded whole from the checkpoint, disclosed, frozen or slower than the rest."""

import json

import pytest
import torch
from safetensors.torch import load_file

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.modeling.backbone import iresnet
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from fecnet.utils.errors import CheckpointError

PLAIN = ("MODEL.WIDTH_MULT", 1.0, "MODEL.BLOCKS", [2, 2, 2, 2])
BACKBONES = {
    "deep_emotion": ("MODEL.BACKBONE", "deep_emotion", *PLAIN),
    "iresnet18": ("MODEL.BACKBONE", "iresnet18", *PLAIN),
    "resnet18_cifar": ("MODEL.STEM", "cifar"),
    "vgg16": ("MODEL.BACKBONE", "vgg16", *PLAIN, "MODEL.LAYER_CHANNELS", [8] * 14),
}


def train(recipe, name, *overrides, resume=""):
    """The last checkpoint of two iterations."""
    options = ("NAME", name, "SOLVER.LENGTH", 2, "EVAL.PERIOD", 0, "CHECKPOINT.PERIOD", 0, *overrides)
    cfg = load_config(recipe, [str(item) for item in options])
    assert train_run(cfg, recipe=name, resume=resume) == 0
    return find_checkpoint(recipe.parent / "result" / name, "last")


def backbone_of(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    return {name: value for name, value in tensors.items() if name.startswith("backbone.")}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_runs_backbone_is_loaded_whole_and_stays_as_it_is_when_frozen(recipe, name, capsys, monkeypatch):
    monkeypatch.setattr(iresnet, "_CHANNELS", (8, 8, 16, 16))  # a whole one takes ten seconds to train and to save
    first = train(recipe, "first", *BACKBONES[name])
    pretrained = ("MODEL.PRETRAINED", first / "model.safetensors", "MODEL.PRETRAINED_ON", "random faces")
    capsys.readouterr()
    second = train(recipe, "second", *BACKBONES[name], *pretrained, "SEED", 1, "MODEL.FREEZE_BACKBONE", "true")
    printed = capsys.readouterr().out
    before, after = backbone_of(first), backbone_of(second)
    assert f"{len(before)} tensors loaded, prefix 'backbone.' removed" in printed
    assert "missing: none" in printed
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert json.loads((second / "meta.json").read_text())["pretraining"] == "random faces"
    chained = ("MODEL.PRETRAINED", second / "model.safetensors", "MODEL.PRETRAINED_ON", "more faces")
    third = train(recipe, "third", *BACKBONES[name], *chained)
    resumed = train(recipe, "third", *BACKBONES[name], *chained, "SOLVER.LENGTH", 3, resume="auto")
    for checkpoint in (third, resumed):
        told = json.loads((checkpoint / "meta.json").read_text())["pretraining"]
        assert told == "more faces; before that: random faces"
    infer_run(str(second))


def test_a_name_that_is_neither_a_file_nor_a_shipped_net_is_told_with_the_nearest(recipe):
    how = ("MODEL.PRETRAINED", "fecnet-smal", "MODEL.PRETRAINED_ON", "FERPlus")
    with pytest.raises(CheckpointError, match="no shipped net of that name; the nearest names: fecnet-small"):
        train(recipe, "first", *how)


def test_the_backbone_goes_slower_than_the_rest(recipe):
    first = train(recipe, "first", *BACKBONES["deep_emotion"])
    pretrained = ("MODEL.PRETRAINED", first / "model.safetensors", "MODEL.PRETRAINED_ON", "random faces")
    common = (*BACKBONES["deep_emotion"], *pretrained, "SOLVER.LENGTH", 1, "SOLVER.WEIGHT_DECAY", 0.0)
    before = backbone_of(first)
    moved = {}
    for factor in (1.0, 0.01):
        after = backbone_of(train(recipe, f"factor{factor}", *common, "SOLVER.BACKBONE_LR_FACTOR", factor))
        moved[factor] = (after["backbone.fc1.weight"] - before["backbone.fc1.weight"]).abs().max().item()
    assert moved[0.01] == pytest.approx(0.01 * moved[1.0], rel=0.1)  # Adam's first step is the rate itself
