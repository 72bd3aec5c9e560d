"""Weights under other names: sequences of children, deeper and other nets; what fits is loaded whole or refused."""

import pytest
import torch
from torch import nn

from fecnet.modeling.backbone.inception_nn2 import InceptionNN2
from fecnet.modeling.backbone.inception_resnet import InceptionResnetV1
from fecnet.modeling.backbone.iresnet import IResNet
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.backbone.vgg import VGG
from fecnet.modeling.pretrained import load_pretrained
from tests.modeling import published

WIDTH = 0.125


def resnet(**settings):
    return ResNet18(width=WIDTH, **settings)


def assert_loads(tmp_path, state, net, expected, **report):
    """All tensors of ``expected`` are in ``net`` afterwards."""
    torch.save(state, tmp_path / "file.pt")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(7)
    found = load_pretrained(net, tmp_path / "file.pt")
    assert found.missing == ()
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())
    for key, value in report.items():
        assert getattr(found, key) == value, key
    return found


def refused(tmp_path, state, net):
    torch.save(state, tmp_path / "file.pt")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError) as error:
        load_pretrained(net, tmp_path / "file.pt")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert "\n" not in str(error.value)
    return str(error.value)


def numbered(state, numbers, prefix):
    """The names that a plain sequence of the net's children has."""
    split = ((name.partition("."), value) for name, value in state.items())
    return {f"{prefix}{numbers[child]}.{rest}": value for (child, _, rest), value in split}


RESNET = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
WITHOUT_ACTIVATIONS = {name: number for number, name in enumerate(RESNET)}  # as in CIFAR code


@pytest.mark.parametrize("numbers", [RESNET, WITHOUT_ACTIVATIONS])
@pytest.mark.parametrize("prefix", ["features.", "", "net.", "module.features.", "0.", "backbone.body."])
def test_a_sequence_of_a_resnets_children(tmp_path, prefix, numbers):
    state = resnet().state_dict()
    file = numbered(state, numbers, prefix) | {"fc.weight": torch.ones(7, 64), "alpha.0.weight": torch.ones(1, 64)}
    report = assert_loads(tmp_path, file, resnet(), state, prefix=prefix)
    assert list(report.skipped) == ["fc.weight", "alpha.0.weight"]
    assert report.children == {str(number): name for name, number in numbers.items()}
    assert "saved as a sequence: 0 is conv1, 1 is bn1, " in str(report)


def test_torchvisions_resnet_as_others_save_it(tmp_path):
    """SCN, DAN: ``nn.Sequential(*list(resnet.children())[:-1])``."""
    torchvision = pytest.importorskip("torchvision.models").resnet18()
    features = nn.Sequential(*list(torchvision.children())[:-1])
    file = {"iter": 1, "model_state_dict": {f"features.{name}": value for name, value in features.state_dict().items()}}
    report = assert_loads(tmp_path, file, ResNet18(), torchvision.state_dict())
    assert len(report.loaded) == 120


def test_a_sequence_with_its_classifier_in_it(tmp_path):
    state = resnet().state_dict()
    file = numbered(state, RESNET, "") | {"9.weight": torch.ones(7, 64), "10.weight": torch.ones(7)}
    assert list(assert_loads(tmp_path, file, resnet(), state).skipped) == ["9.weight", "10.weight"]


def test_a_sequence_of_shortcuts_and_of_three_colours(tmp_path):
    state = resnet().state_dict()
    file = {name.replace(".downsample.", ".shortcut."): value for name, value in numbered(state, RESNET, "f.").items()}
    grey = resnet(in_channels=1).state_dict()
    expected = state | {"conv1.weight": state["conv1.weight"].sum(1, keepdim=True)}
    assert expected.keys() == grey.keys()
    assert_loads(tmp_path, file, resnet(in_channels=1), expected)


def vgg():
    return VGG((1, 1, 1, 1, 1), widths=(8, 8, 8, 8, 8))


@pytest.mark.parametrize("prefix", ["", "features.", "backbone.", "0.", "module.0."])
def test_vgg_layers_alone_or_as_a_child(tmp_path, prefix):
    state = vgg().state_dict()
    file = {prefix + name.removeprefix("features."): value for name, value in state.items()}
    assert_loads(tmp_path, file | {"classifier.weight": torch.ones(7, 8)}, vgg(), state)


def test_iresnet_with_the_dropout_that_others_have(tmp_path):
    state = published.insightface_state((1, 1, 1, 1), side=3)
    numbers = {"conv1": 0, "bn1": 1, "prelu": 2, "layer1": 3, "layer2": 4, "layer3": 5, "layer4": 6}
    numbers |= {"bn2": 7, "fc": 9, "features": 10}
    assert_loads(tmp_path, numbered(state, numbers, "model."), IResNet((1, 1, 1, 1), input_size=48), state)


@pytest.mark.parametrize("net", [InceptionResnetV1, InceptionNN2])
def test_a_sequence_of_inception_nets(tmp_path, net):
    one = net()
    numbers = {name: number for number, (name, _) in enumerate(one.named_children())}
    state = one.state_dict()
    assert_loads(tmp_path, numbered(state, numbers, "features."), net(), state)


# --- refused


def fits(**settings):
    words = [f"MODEL.BACKBONE resnet18 MODEL.WIDTH_MULT {settings.pop('width', WIDTH)}"]
    return " ".join([*words, *(f"MODEL.{key} {value}" for key, value in settings.items())])


def test_a_deeper_net_with_all_the_names_is_refused(tmp_path):
    """Every tensor of a ResNet-18 has its name and shape in a ResNet-34, where other blocks stand between them."""
    said = refused(tmp_path, resnet(blocks=(3, 4, 6, 3)).state_dict(), resnet())
    assert (
        "has more tensors than ResNet18: 100 of the net's 100 tensors fit; unused inside the net: layer1.2.conv1.weight"
        in said
    )
    assert said.endswith(f"it fits: {fits(BLOCKS='[3,4,6,3]', STEM='imagenet')}")


def test_so_is_one_saved_as_a_sequence(tmp_path):
    said = refused(tmp_path, numbered(resnet(blocks=(3, 4, 6, 3)).state_dict(), RESNET, "f."), resnet())
    assert "unused inside the net: f.4.2.conv1.weight, " in said
    assert said.endswith(fits(BLOCKS="[3,4,6,3]", STEM="imagenet"))


def test_a_shallower_net_is_refused(tmp_path):
    said = refused(tmp_path, resnet(blocks=(1, 1, 1, 1)).state_dict(), resnet())
    assert "does not cover ResNet18: " in said
    assert "no weights for layer1.1.conv1.weight, " in said
    assert said.endswith(fits(BLOCKS="[1,1,1,1]", STEM="imagenet"))


def test_another_stem_and_another_width(tmp_path):
    said = refused(tmp_path, resnet().state_dict(), resnet(cifar_stem=True))
    assert "99 of the net's 100 tensors fit; no weights for conv1.weight (shape 8×3×7×7, expected 8×3×3×3); " in said
    assert said.endswith(fits(BLOCKS="[2,2,2,2]", STEM="imagenet"))
    said = refused(tmp_path, resnet(cifar_stem=True).state_dict(), ResNet18(width=0.25))
    assert said.endswith(fits(BLOCKS="[2,2,2,2]", STEM="cifar"))


def test_another_net_is_named(tmp_path):
    assert refused(tmp_path, VGG((2, 2, 3, 3, 3)).state_dict(), resnet()).endswith("it fits: MODEL.BACKBONE vgg16")
    without = InceptionNN2(batch_norm=False).state_dict()
    said = refused(tmp_path, without, InceptionNN2())
    assert said.endswith("it fits: MODEL.BACKBONE inception_nn2 MODEL.BATCH_NORM false")


def test_bottlenecks_are_no_net_of_ours(tmp_path):
    """Many of a ResNet-50's tensors have names and shapes of a ResNet-18."""
    state = resnet().state_dict()
    wide = {name: torch.ones(8, 8, 1, 1) for name in state if name.endswith("conv1.weight") and "layer" in name}
    third = {f"layer{k}.{i}.conv3.weight": torch.ones(32, 8, 1, 1) for k in range(1, 5) for i in range(2)}
    said = refused(tmp_path, state | wide | third, resnet())
    assert "unused inside the net: layer1.0.conv3.weight" in said
    assert said.endswith("it fits no backbone of fecnet")


def test_parameters_that_ours_has_not_are_not_left_out(tmp_path):
    state = resnet().state_dict() | {"layer1.0.se.fc.weight": torch.ones(8, 8), "conv1.bias": torch.ones(8)}
    assert "unused inside the net: layer1.0.se.fc.weight, conv1.bias; " in refused(tmp_path, state, resnet())


def test_fewer_stages_of_a_net_are_the_beginning_of_it(tmp_path):
    state = resnet().state_dict()
    report = assert_loads(tmp_path, state, resnet(blocks=(2, 2)), state)
    assert all(name.startswith(("layer3.", "layer4.")) for name in report.skipped)
