"""A mask as a further channel: it starts without influence, keeps its range, and is learnt from."""

import json

import pytest
import torch
from safetensors.torch import load_file

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.modeling.build import build_model, per_channel
from fecnet.modeling.pretrained import load_pretrained
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from tests.conftest import TINY_RECIPE, write_tiny
from tests.modeling.test_build_model import make_cfg

COLOUR = {"MEAN": [0.485, 0.456, 0.406], "STD": [0.229, 0.224, 0.225]}


def nets(cfg, channels, others, path):
    """A net for ``channels`` and one for ``others``, with one file of 3 channels in both and the rest alike."""
    torch.save(build_model(cfg, 3).backbone.state_dict(), path)
    first, second = build_model(cfg, channels).eval(), build_model(cfg, others).eval()
    reports = [load_pretrained(net.backbone, path) for net in (first, second)]
    for part in ("neck", "head"):
        getattr(second, part).load_state_dict(getattr(first, part).state_dict())
    return first, second, reports


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("resnet18", "conv1.weight"),
        ("vgg16", "features.0.weight"),
        ("iresnet18", "conv1.weight"),
        ("inception_nn2", "stem.0.conv.weight"),
        ("inception_resnet_v1", "conv2d_1a.conv.weight"),
    ],
)
@torch.no_grad()
def test_colour_and_mask_starts_as_the_colour_net(tmp_path, backbone, name):
    cfg = make_cfg(BACKBONE=backbone, WIDTH_MULT=0.125 if backbone == "resnet18" else 1.0, **COLOUR)
    masked, colour, (report, _) = nets(cfg, 4, 3, tmp_path / "file.pt")
    assert report.converted == {name: "a fourth input channel of zeros added for the mask"}
    assert f"converted: {name} (a fourth input channel of zeros added for the mask)" in str(report)
    image = torch.randint(0, 256, (2, 4, 48, 48), dtype=torch.uint8)
    for part in ("embedding", "feature"):
        torch.testing.assert_close(masked(image)[part], colour(image[:, :3])[part], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_grey_and_mask_starts_as_the_grey_net(tmp_path):
    masked, grey, (report, grey_report) = nets(make_cfg(), 2, 1, tmp_path / "file.pt")
    assert report.converted == {"conv1.weight": "3 input channels summed into 1, and one of zeros added for the mask"}
    assert grey_report.converted == {"conv1.weight": "3 input channels summed into 1"}
    image = torch.randint(0, 256, (2, 2, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(masked(image)["feature"], grey(image[:, :1])["feature"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_no_other_number_of_channels_is_adapted(tmp_path, channels):
    # a first convolution of 5 channels, or a file that has 1: nothing to make of it, and the report says so
    torch.save(build_model(make_cfg(), 1).backbone.state_dict(), tmp_path / "file.pt")
    report = load_pretrained(build_model(make_cfg(), channels).backbone, tmp_path / "file.pt")
    assert report.converted == {}
    assert report.missing == ("conv1.weight",) == tuple(report.skipped)


def test_the_mask_gets_a_gradient_from_the_start(tmp_path):
    masked, _, _ = nets(make_cfg(), 4, 3, tmp_path / "file.pt")
    masked.train()(torch.rand(4, 4, 48, 48))["feature"].square().sum().backward()
    assert masked.backbone.conv1.weight.grad[:, 3].abs().max() > 0


@pytest.mark.parametrize(
    ("values", "channels", "expected"),
    [
        ([0.5], 1, [0.5]),
        ([0.5], 3, [0.5, 0.5, 0.5]),
        ([0.1, 0.2, 0.3], 3, [0.1, 0.2, 0.3]),
        ([0.5], 4, [0.5, 0.5, 0.5, 7.0]),
        ([0.1, 0.2, 0.3], 4, [0.1, 0.2, 0.3, 7.0]),
        ([0.1, 0.2, 0.3, 0.4], 4, [0.1, 0.2, 0.3, 0.4]),
        ([0.5], 2, [0.5, 7.0]),
        ([0.5, 0.4], 2, [0.5, 0.4]),
    ],
)
def test_values_per_channel(values, channels, expected):
    assert per_channel(values, channels, mask=7.0, key="MODEL.MEAN") == expected


@pytest.mark.parametrize(
    ("values", "channels", "words"),
    [
        ([], 1, "MODEL.MEAN: 0 values for 1 channels; give 1"),
        ([0.1, 0.2, 0.3], 1, "MODEL.MEAN: 3 values for 1 channels; give 1"),
        ([0.1, 0.2], 4, r"MODEL.MEAN: 2 values for 4 channels \(the last channel is a mask\); give 1 or 3 or 4"),
        ([0.1] * 5, 4, "5 values for 4 channels"),
        ([0.1] * 4, 3, "4 values for 3 channels; give 1 or 3"),
        ([0.1] * 3, 2, r"3 values for 2 channels \(the last channel is a mask\); give 1 or 2"),
    ],
)
def test_wrong_numbers_of_values(values, channels, words):
    with pytest.raises(ValueError, match=words):
        per_channel(values, channels, mask=0.0, key="MODEL.MEAN")


@pytest.mark.parametrize("mean", [[0.5], [0.485, 0.456, 0.406]])
def test_the_net_sees_the_mask_as_it_is(mean):
    net = build_model(make_cfg(MEAN=mean, STD=[0.25]), 4)
    seen = []
    net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.randint(0, 256, (2, 4, 48, 48), dtype=torch.uint8)
    net(image)
    torch.testing.assert_close(seen[0][:, 3], image[:, 3] / 255)
    torch.testing.assert_close(seen[0][:, 0], (image[:, 0] / 255 - mean[0]) / 0.25)


def masked_recipe(tmp_path):
    data = write_tiny(tmp_path / "masked", channels=("R", "G", "B", "mask"))
    path = tmp_path / "masked.yaml"
    path.write_text(TINY_RECIPE % (data, tmp_path / "result"))
    return path


def train(recipe, *overrides):
    return train_run(load_config(recipe, [str(item) for item in overrides]), recipe="masked", resume="")


def test_training_from_colour_weights_on_colour_and_mask(tmp_path, capsys):
    colour = build_model(make_cfg(BLOCKS=[1, 1], NECK="conv1x1", NECK_CHANNELS=16, FEATURE_DIM=16), 3).backbone
    torch.save(colour.state_dict(), tmp_path / "file.pt")
    recipe = masked_recipe(tmp_path)
    options = ("MODEL.PRETRAINED", tmp_path / "file.pt", "MODEL.PRETRAINED_ON", "nothing", "AUGMENT.BRIGHTNESS", 0.5)
    train(recipe, *options)
    assert "a fourth input channel of zeros added for the mask" in capsys.readouterr().out
    checkpoint = find_checkpoint(tmp_path / "result" / "masked", "last")
    weights = load_file(checkpoint / "model.safetensors")
    assert weights["backbone.conv1.weight"][:, 3].abs().max() > 0  # learnt
    preprocessing = json.loads((checkpoint / "meta.json").read_text())["preprocessing"]
    assert preprocessing["mean"] == weights["mean"].flatten().tolist() == [0.5, 0.5, 0.5, 0.0]
    assert preprocessing["std"] == weights["std"].flatten().tolist() == [0.5, 0.5, 0.5, 1.0]
    infer_run(tmp_path / "result" / "masked")


def test_a_frozen_backbone_that_cannot_see_the_mask_says_so(tmp_path, capsys):
    colour = build_model(make_cfg(BLOCKS=[1, 1], NECK="conv1x1", NECK_CHANNELS=16, FEATURE_DIM=16), 3).backbone
    torch.save(colour.state_dict(), tmp_path / "file.pt")
    options = (
        "MODEL.PRETRAINED",
        tmp_path / "file.pt",
        "MODEL.PRETRAINED_ON",
        "nothing",
        "MODEL.FREEZE_BACKBONE",
        "true",
    )
    train(masked_recipe(tmp_path), *options)
    assert "it has no effect" in capsys.readouterr().out


def test_a_first_convolution_that_stays_random_is_not_frozen(tmp_path):
    grey = build_model(make_cfg(BLOCKS=[1, 1], NECK="conv1x1", NECK_CHANNELS=16, FEATURE_DIM=16), 1).backbone
    torch.save(grey.state_dict(), tmp_path / "file.pt")
    options = ("MODEL.PRETRAINED", tmp_path / "file.pt", "MODEL.PRETRAINED_ON", "nothing", "MODEL.FREEZE_BACKBONE")
    with pytest.raises(
        ValueError, match=r"^MODEL\.FREEZE_BACKBONE: true, but .* has no weights for conv1\.weight .* 4 ch"
    ):
        train(masked_recipe(tmp_path), *options, "true")


@pytest.mark.parametrize("channels", [("mask", "R", "G", "B"), ("R", "G", "B", "depth"), ("B", "G", "R"), ("mask",)])
def test_channels_nobody_knows_are_refused(tmp_path, channels):
    data = write_tiny(tmp_path / "odd", channels=channels)
    recipe = tmp_path / "odd.yaml"
    recipe.write_text(TINY_RECIPE % (data, tmp_path / "result"))
    with pytest.raises(ValueError, match=r"dataset.json: channels .*allowed: \['grey'\] or"):
        train(recipe)
