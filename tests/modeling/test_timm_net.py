"""Nets of timm as backbones; what timm itself is not needed for is tested with a stand-in of two functions."""

import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from torch import nn

from fecnet.config.node import load_config
from fecnet.encoder.build import load_encoder
from fecnet.export.export import export_run
from fecnet.modeling.backbone.timm_net import TimmNet, with_sync_batch_norm
from fecnet.modeling.build import build_model
from fecnet.modeling.pretrained import load_pretrained
from fecnet.runs.training import train_run
from fecnet.studies.costs import measure_costs
from tests.classes import write_recipe

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
SMALL = ("MODEL.NECK", "conv1x1", "MODEL.NECK_CHANNELS", "8", "MODEL.FEATURE_DIM", "8")


class Net(nn.Module):
    """A stand-in for a net of timm; ``shape`` reorders its feature map."""

    def __init__(self, in_chans, shape=lambda map_NCHW: map_NCHW):
        super().__init__()
        self.num_features, self._shape = 6, shape
        self.stem = nn.Sequential(nn.Conv2d(in_chans, 6, 3, 4), nn.BatchNorm2d(6), nn.ReLU())
        self.conv_head = nn.Conv2d(6, 9, 1)  # behind the feature map

    def forward_features(self, image):
        return self._shape(self.stem(image))


class FixedSize(Net):
    def forward_features(self, image):
        assert image.shape[-1] == 224, "Input height (48) doesn't match\nmodel (224)."
        return super().forward_features(image)


@pytest.fixture
def timm(monkeypatch):
    """What fecnet needs of timm."""
    nets = {
        "convnet": Net,
        "convnext": Net,
        "tokens": lambda in_chans: Net(in_chans, lambda map_NCHW: map_NCHW.flatten(2).transpose(1, 2)),
        "last": lambda in_chans: Net(in_chans, lambda map_NCHW: map_NCHW.permute(0, 2, 3, 1)),
        "list": lambda in_chans: Net(in_chans, lambda map_NCHW: [map_NCHW]),
        "fixed": FixedSize,
    }

    def create_model(name, *, pretrained, in_chans, num_classes):
        assert pretrained is False and num_classes == 0
        return nets[name](in_chans)

    module = ModuleType("timm")
    module.list_models, module.create_model = lambda: list(nets), create_model
    monkeypatch.setitem(sys.modules, "timm", module)


def net_of(name, channels=1, *options):
    return build_model(
        load_config(None, ["MODEL.BACKBONE", f"timm:{name}", "DATA.INPUT_SIZE", "48", *options]), channels
    )


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_net_gives_a_feature_map_and_keeps_nothing_behind_it(channels):
    net = net_of("convnet", channels, *SMALL)
    assert net.backbone.out_channels == 6 and net.training and net.backbone.net.training
    image = torch.rand(2, channels, 48, 48)
    assert net.backbone(image).shape == (2, 6, 12, 12) and net(image)["embedding"].shape == (2, 16)
    net(image)["embedding"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.backbone.parameters())
    assert not any("conv_head" in name for name in net.state_dict())


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "convnetx",
            r"MODEL\.BACKBONE: unknown net 'convnetx' of timm \(6 are known\); .* timm:convnet, timm:convnext",
        ),
        ("convnet.a1_in1k", r"unknown net 'convnet\.a1_in1k' of timm .* names without a tag, such as timm:convnet"),
        ("hf-hub:some/net", r"unknown net 'hf-hub:some/net'"),
        ("", r"unknown net '' of timm .* such as timm:resnet18, "),
        (
            "tokens",
            r"MODEL\.BACKBONE: timm:tokens returns shape \(1, 144, 6\) instead of a feature map .* a convolutional net",
        ),
        ("last", r"timm:last returns shape \(1, 12, 12, 6\) instead of a feature map"),
        ("list", r"timm:list returns shape \(\) instead of a feature map"),
        (
            "fixed",
            r"timm:fixed cannot process images of 1 channels and 48×48 pixels \(Input height \(48\) doesn't match\); ",
        ),
    ],
)
def test_what_is_no_backbone_is_one_line(name, said):
    with pytest.raises(ValueError, match=said) as error:
        net_of(name)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("timm")
def test_settings_of_other_backbones_are_refused():
    with pytest.raises(ValueError, match=r"MODEL\.WIDTH_MULT: 0\.5 is not used by MODEL\.BACKBONE timm:convnet; it is"):
        net_of("convnet", 1, "MODEL.WIDTH_MULT", "0.5")
    with pytest.raises(ValueError, match=r"unknown name 'convnet'; allowed: deep_emotion, .*, or timm:NAME of a net"):
        build_model(load_config(None, ["MODEL.BACKBONE", "convnet"]), 1)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:resnet18 needs timm; install it with: pip install 'fecnet\[timm\]'$"):
        net_of("resnet18")


@pytest.mark.usefixtures("timm")
def test_published_weights_are_matched_by_timms_names(tmp_path):
    torch.manual_seed(0)
    published = Net(3)
    torch.save(published.state_dict(), tmp_path / "net.pth")
    backbone = TimmNet("convnet", in_channels=1, input_size=48)
    report = load_pretrained(backbone.published, tmp_path / "net.pth")
    assert not report.missing and list(report.skipped) == ["conv_head.weight", "conv_head.bias"]
    torch.testing.assert_close(backbone.net.stem[0].weight, published.stem[0].weight.sum(1, keepdim=True))


@pytest.mark.usefixtures("timm")
def test_a_run_trains_is_measured_exported_and_used(tmp_path):
    recipe = write_recipe(tmp_path, "joint")
    recipe.write_text(
        recipe.read_text().replace("BACKBONE: resnet18, WIDTH_MULT: 0.125, BLOCKS: [1, 1]", "BACKBONE: 'timm:convnet'")
    )
    assert train_run(load_config(recipe, ["SOLVER.LENGTH", "2", "EVAL.PERIOD", "0"]), recipe="timm") == 0
    run = tmp_path / "result" / "timm"
    (costs,) = measure_costs([str(run)], seconds=0)
    assert costs["macs"] > 0 and costs["ms"] > 0
    for kind, suffix in (("onnx", "onnx"), ("torch", "pt2")):  # both compare the file with the net
        found = export_run(str(run), kind, output=str(tmp_path / f"net.{suffix}"), progress=False)
        assert found.agreement.differences["embedding"] < 1e-5
    assert load_encoder(run).classes == ("calm", "glad", "cross")


@needs_timm
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto", "efficientnet_lite0"])
def test_nets_of_timm_give_maps_without_unused_weights(name):
    net = net_of(name, 1, *SMALL)
    image = torch.rand(2, 1, 48, 48)
    net(image)["embedding"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@needs_timm
def test_synchronised_batch_norms_keep_their_activations():
    torch.manual_seed(0)
    net = net_of("efficientnet_lite0", 1, *SMALL).eval()
    image = torch.rand(1, 1, 48, 48)
    before = net(image)["embedding"]
    converted = with_sync_batch_norm(net)
    assert any(isinstance(layer, nn.SyncBatchNorm) for layer in converted.modules())
    torch.testing.assert_close(converted(image)["embedding"], before)
