from functools import partial

import pytest
import torch
from torch import nn

from fecnet.modeling.backbone.deep_emotion import DeepEmotion
from fecnet.modeling.backbone.inception_nn2 import InceptionNN2
from fecnet.modeling.backbone.inception_resnet import MIN_SIZE, InceptionResnetV1
from fecnet.modeling.backbone.iresnet import IRESNET18_BLOCKS, IResNet
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.backbone.vgg import VGG, VGG16_STAGES, VGG19_STAGES
from fecnet.modeling.pretrained import load_pretrained
from tests.modeling import published

BACKBONES = {
    "resnet18": ResNet18,
    "resnet18_cifar": partial(ResNet18, cifar_stem=True),
    "vgg16": partial(VGG, VGG16_STAGES),
    "vgg19": partial(VGG, VGG19_STAGES),
    "iresnet18": partial(IResNet, IRESNET18_BLOCKS, input_size=None),
    "deep_emotion": DeepEmotion,
    "inception_nn2": InceptionNN2,
    "inception_resnet_v1": InceptionResnetV1,
}
SIDES = {  # of the map; else 1/32 rounded up
    "resnet18_cifar": {44: 6, 48: 6, 64: 8, 160: 20},
    "vgg16": {44: 1, 48: 1, 64: 2, 160: 5},
    "vgg19": {44: 1, 48: 1, 64: 2, 160: 5},
    "iresnet18": {48: 3, 64: 4, 160: 10},
    "deep_emotion": {48: 1, 64: 1, 160: 1},
    "inception_resnet_v1": {48: 1, 64: 1, 160: 3},
}


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def grey_nets():
    return {name: make(in_channels=1).eval() for name, make in BACKBONES.items()}


@pytest.fixture(scope="module")
def colour_nets():
    return {name: make(in_channels=3).eval() for name, make in BACKBONES.items()}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [48, 64, 160])
@torch.no_grad()
def test_every_net_takes_grey_and_colour_at_every_size(name, size, grey_nets, colour_nets):
    expected = SIDES[name][size] if name in SIDES else -(-size // 32)
    for channels, nets in ((1, grey_nets), (3, colour_nets)):
        out = nets[name](torch.randn(1, channels, size, size))
        assert out.shape == (1, nets[name].out_channels, expected, expected)
        assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("channels", [2, 4])
def test_every_net_sees_its_mask(name, channels):
    image = torch.rand(2, channels, 48, 48, requires_grad=True)
    BACKBONES[name](in_channels=channels)(image).square().sum().backward()
    assert image.grad[:, -1].abs().max() > 0


@pytest.mark.parametrize("name", ["resnet18", "resnet18_cifar", "vgg16", "vgg19"])
@torch.no_grad()
def test_44_px_of_fer2013(name, grey_nets):
    expected = SIDES.get(name, {}).get(44, 2)
    assert grey_nets[name](torch.randn(1, 1, 44, 44)).shape == (1, 512, expected, expected)


# --- ResNet-18


def test_resnet18_has_torchvisions_names_shapes_and_count(colour_nets):
    torchvision_models = pytest.importorskip("torchvision.models")
    reference = torchvision_models.resnet18()
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith("fc.")}
    ours = colour_nets["resnet18"].state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in state.items()}
    assert num_parameters(nn.Sequential(colour_nets["resnet18"], nn.Linear(512, 1000))) == 11_689_512
    assert num_parameters(reference) == 11_689_512


@torch.no_grad()
def test_resnet18_computes_what_torchvision_computes():
    reference = pytest.importorskip("torchvision.models").resnet18().eval()
    reference.fc = reference.avgpool = nn.Identity()
    ours = ResNet18().eval()
    ours.load_state_dict(reference.state_dict())
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(image).flatten(1), reference(image), rtol=1e-5, atol=1e-5)


def test_resnet18_width_scales_every_layer():
    net = ResNet18(in_channels=1, width=0.25)
    assert net.out_channels == 128
    widths = {m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)}
    assert widths == {16, 32, 64, 128}


def test_narrow_shortcuts_are_strided_convolutions():
    # computed here in double precision, where torch's own is sound
    net = ResNet18(width=0.125, cifar_stem=True, blocks=(1, 1)).double()
    block = net.layer2[0]
    image = torch.randn(2, 8, 13, 12, dtype=torch.double)
    conv, norm = block.downsample
    expected = nn.functional.conv2d(image, conv.weight, stride=2)
    torch.testing.assert_close(conv(image), expected)
    assert conv(image).shape == (2, 16, 7, 6)
    assert norm.num_features == 16


@pytest.mark.parametrize("widths", [None, [9, 8, 8], [12, 8, 8], [15, 8, 8]], ids=str)
def test_a_narrow_net_survives_channels_last(widths):
    # batch norms in evaluation: taking statistics cancels nearly all of a gradient, and rounding would show
    after = None if widths is None else [*widths, 16, 16, 16, 9, 16, 16, 8, 8, 8]
    torch.manual_seed(0)
    settings = {"in_channels": 1, "width": 0.125, "cifar_stem": True, "widths": after}
    net, reference = ResNet18(**settings).eval(), ResNet18(**settings).double().eval()
    reference.load_state_dict(net.state_dict())
    net.to(memory_format=torch.channels_last)
    image = torch.rand(22, 1, 48, 48)
    net(image.to(memory_format=torch.channels_last)).square().sum().backward()
    reference(image.double()).square().sum().backward()
    for ours, exact in zip(net.parameters(), reference.parameters(), strict=True):
        scale = exact.grad.abs().max().item()
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-2, atol=1e-3 * scale)


def test_cifar_resnet18_count_is_the_cifar_codes(colour_nets):
    # kuangliu/pytorch-cifar has 11,173,962 with 10 classes; the FER2013 system has 7
    assert num_parameters(nn.Sequential(colour_nets["resnet18_cifar"], nn.Linear(512, 10))) == 11_173_962
    assert num_parameters(nn.Sequential(colour_nets["resnet18_cifar"], nn.Linear(512, 7))) == 11_172_423


@torch.no_grad()
def test_fer2013_checkpoint_loads_and_computes_the_same(tmp_path):
    torch.manual_seed(4)
    state = published.fer2013_resnet18_state()
    torch.save({"net": state, "best_PublicTest_acc": torch.tensor(72.3)}, tmp_path / "PublicTest_model.t7")
    colour, grey = ResNet18(cifar_stem=True).eval(), ResNet18(cifar_stem=True, in_channels=1).eval()
    for net in (colour, grey):
        report = load_pretrained(net, tmp_path / "PublicTest_model.t7")
        assert report.missing == ()
        assert set(report.skipped) == {"linear.weight", "linear.bias"}
    assert report.converted == {"conv1.weight": "3 input channels summed into 1"}
    image = torch.randn(2, 1, 44, 44)
    repeated = image.expand(-1, 3, -1, -1)
    expected = published.fer2013_resnet18(state, repeated)
    scale = expected.abs().max().item()
    torch.testing.assert_close(colour(repeated), expected, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(grey(image), expected, rtol=1e-4, atol=1e-5 * scale)


def test_shortcuts_are_renamed_under_a_prefix_too(tmp_path):
    state = {f"module.{name}": value for name, value in published.fer2013_resnet18_state().items()}
    torch.save({"net": state}, tmp_path / "file.t7")
    report = load_pretrained(ResNet18(cifar_stem=True), tmp_path / "file.t7")
    assert report.prefix == "module."
    assert report.missing == ()


# --- Inception NN2


def test_nn2_stage_widths_and_7x7_at_224():
    net = InceptionNN2().eval()
    shapes = {}
    for name, stage in net.stages.items():
        stage.register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        net(torch.randn(1, 3, 224, 224))
    assert shapes == {
        "3a": (256, 28, 28),
        "3b": (320, 28, 28),
        "3c": (640, 14, 14),
        "4a": (640, 14, 14),
        "4b": (640, 14, 14),
        "4c": (640, 14, 14),
        "4d": (640, 14, 14),
        "4e": (1024, 7, 7),
    }
    assert net.out_channels == 1024


def test_nn2_count_completes_to_openfaces():
    # OpenFace publishes 7,472,144 for NN2 with stages 5a and 5b, a 128-d embedding, and batch norm beside biases:
    # https://cmusatyalab.github.io/openface/models-and-accuracies/
    net = InceptionNN2(batch_norm=False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())

    def conv(channels, out, size):
        return channels * out * size**2 + out

    stage_5 = conv(1024, 384, 1) + conv(1024, 192, 1) + conv(192, 384, 3)
    stage_5 += conv(1024, 48, 1) + conv(48, 128, 5) + conv(1024, 128, 1)
    outputs = sum(m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d))
    outputs += 2 * (384 + 192 + 384 + 48 + 128 + 128)
    assert num_parameters(net) + 2 * stage_5 + 2 * outputs + (1024 * 128 + 128) == 7_472_144


def test_nn2_without_batch_norm_keeps_its_variance():
    torch.manual_seed(0)
    net = InceptionNN2(batch_norm=False)
    with torch.no_grad():
        out = net(torch.randn(2, 3, 64, 64))
    assert 0.01 < out.std() < 100


# --- Inception-ResNet-v1


def test_inception_resnet_count_is_facenet_pytorchs(colour_nets):
    # facenet-pytorch 2.5.3 has 23,482,624 without a classifier; its projection and the batch norm after it are not ours
    assert num_parameters(colour_nets["inception_resnet_v1"]) == 23_482_624 - 1792 * 512 - 2 * 512


def test_inception_resnet_count_by_hand(colour_nets):
    def conv(channels, out, taps):  # with batch norm
        return channels * out * taps + 2 * out

    stem = conv(3, 32, 9) + conv(32, 32, 9) + conv(32, 64, 9) + conv(64, 80, 1) + conv(80, 192, 9) + conv(192, 256, 9)
    block35 = 3 * conv(256, 32, 1) + 3 * conv(32, 32, 9) + 96 * 256 + 256
    mixed_6a = conv(256, 384, 9) + conv(256, 192, 1) + conv(192, 192, 9) + conv(192, 256, 9)
    block17 = 2 * conv(896, 128, 1) + 2 * conv(128, 128, 7) + 256 * 896 + 896
    mixed_7a = 3 * conv(896, 256, 1) + conv(256, 384, 9) + 3 * conv(256, 256, 9)
    block8 = 2 * conv(1792, 192, 1) + 2 * conv(192, 192, 3) + 384 * 1792 + 1792
    total = stem + 5 * block35 + mixed_6a + 10 * block17 + mixed_7a + 6 * block8
    assert num_parameters(colour_nets["inception_resnet_v1"]) == total


def test_inception_resnet_has_facenet_pytorchs_names(colour_nets):
    names = set(colour_nets["inception_resnet_v1"].state_dict())
    # one name of every kind; the whole list is compared by the counts above
    assert {
        "conv2d_1a.conv.weight",
        "conv2d_4b.bn.running_var",
        "repeat_1.4.branch0.conv.weight",
        "repeat_1.0.branch2.2.bn.bias",
        "repeat_1.0.conv2d.bias",
        "mixed_6a.branch0.conv.weight",
        "mixed_6a.branch1.2.conv.weight",
        "repeat_2.9.branch1.2.conv.weight",
        "mixed_7a.branch0.1.conv.weight",
        "mixed_7a.branch2.2.bn.weight",
        "repeat_3.4.branch1.1.conv.weight",
        "block8.branch0.conv.weight",
        "block8.conv2d.weight",
    } <= names
    assert {name.split(".")[0] for name in names} == {
        *("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a", "conv2d_4b"),
        *("repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"),
    }


@torch.no_grad()
def test_inception_resnet_names_the_smallest_image(grey_nets):
    net = grey_nets["inception_resnet_v1"]
    assert net(torch.randn(1, 1, MIN_SIZE, MIN_SIZE)).shape == (1, 1792, 1, 1)
    with pytest.raises(ValueError, match=f"at least {MIN_SIZE} px a side, got {MIN_SIZE}×{MIN_SIZE - 1}"):
        net(torch.randn(1, 1, MIN_SIZE, MIN_SIZE - 1))


def test_rectifying_after_the_pool_changes_nothing():
    torch.manual_seed(0)
    net = ResNet18(in_channels=1, width=0.125, blocks=(1,)).train()
    image_NCHW = torch.randn(3, 1, 17, 20)
    norm_NCHW = net.bn1(net.conv1(image_NCHW))
    (net.layer1(net.maxpool(torch.relu(norm_NCHW)))).square().sum().backward()  # as published
    published = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(image_NCHW).square().sum().backward()
    assert all(torch.equal(own.grad, grad) for own, grad in zip(net.parameters(), published, strict=True))
