"""Nets for inference: the same outputs, every batch norm behind a convolution folded, the model itself untouched."""

import copy
import gc
import weakref
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fecnet.config.node import load_config
from fecnet.layers.inference import FusedConv, PooledConv
from fecnet.modeling.backbone.registry import BACKBONES
from fecnet.modeling.build import build_model
from fecnet.modeling.fast_inference import for_inference

SIZE = 64
TIMM = ("timm:regnetx_002", "timm:mobilenetv3_small_050")  # their batch norms are functions to torch.fx
PARTS = {  # neck, head, channels
    "paper": ("dense_block", "embedding", 3),
    "grey": ("conv1x1", "joint", 1),
    "regions": ("none", "scn_ran", 3),
    "branches": ("none", "deviation", 3),
    "mask": ("conv3x3", "classifier_affect", 4),
}
LEFT = {"iresnet18": 8 + 2, "iresnet50": 24 + 2, "deep_emotion": 1}  # norms without a convolution before them


def make(backbone, parts="grey", **options):
    """A net as training leaves it: with statistics and scales of its own."""
    neck, head, channels = PARTS[parts]
    names = {"BACKBONE": backbone, "NECK": neck, "HEAD": head, "MEAN": [0.4], "STD": [0.3], **options}
    words = [word for name, value in names.items() for word in (f"MODEL.{name}", str(value))]
    torch.manual_seed(0)
    net = build_model(load_config(None, [*words, "DATA.INPUT_SIZE", str(SIZE)]), channels, 7)
    with torch.no_grad():
        for norm in norms(net):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.8, 1.3)
            norm.weight.uniform_(0.8, 1.2)
            norm.bias.normal_(0, 0.1)
    return net.eval()


def norms(net):
    return [layer for layer in net.modules() if isinstance(layer, _BatchNorm)]


def images(net, num):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num, len(net.mean[0]), SIZE, SIZE), generator=generator, dtype=torch.uint8)


def largest(value):
    return float(value.abs().max())


def in_float64(net, image_NCHW):
    """The outputs of a copy in float64, those of its head too, which the model itself computes in float32."""
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode(), torch.autocast("cpu", enabled=False):
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        return copy.deepcopy(net).double()(image_NCHW)


def check(net, least_folded):
    """The same outputs within 1e-5, or as near to those in float64 as the model's; no convolution stays as it was."""
    fast, image_NCHW = for_inference(net), images(net, 3)
    with torch.inference_mode():
        wanted, found = net(image_NCHW), fast(image_NCHW)
    assert list(found) == list(wanted)
    far = {name: largest(found[name] - value) for name, value in wanted.items()}
    if max(far.values()) > 1e-5:  # untrained, iresnet18 multiplies the rounding of its first layers
        exact = in_float64(net, image_NCHW)
        with torch.inference_mode():  # in the memory in which it was trained, which rounds more with AVX-512
            last = copy.deepcopy(net).to(memory_format=torch.channels_last)
            wanted = last(image_NCHW.contiguous(memory_format=torch.channels_last))
        far = {name: largest(found[name] - value) - 2 * largest(wanted[name] - value) for name, value in exact.items()}
    assert max(far.values()) <= 1e-5, far
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    fused = [layer for layer in fast.modules() if isinstance(layer, FusedConv | PooledConv)]
    assert convolutions and not [layer for layer in fast.modules() if isinstance(layer, nn.Conv2d)]
    assert len(fused) == len(convolutions)
    code = "".join(part.code for part in fast.modules() if isinstance(part, torch.fx.GraphModule))
    assert len(norms(fast)) + code.count("batch_norm(") == len(norms(net)) - least_folded
    return fast


@pytest.mark.parametrize("name", BACKBONES)
def test_every_batch_norm_behind_a_convolution_is_folded(name):
    net = make(name)
    check(net, len(norms(net)) - LEFT.get(name, 0))


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize("name", TIMM)
def test_those_of_timm_too(name):
    net = make(name)
    check(net, len(norms(net)))


@pytest.mark.parametrize(("parts", "left"), {"paper": 6, "regions": 0, "branches": 0, "mask": 0}.items())
def test_necks_and_heads(parts, left):
    net = make("resnet18", parts, WIDTH_MULT=0.2)  # 13 channels: shortcuts of the narrow kind
    check(net, len(norms(net)) - left)


def test_relu_and_pooling_join_the_convolutions():
    """Of the convolutions the first of each block has a ReLU, and the neck's; that of the image is pooled."""
    fast = for_inference(make("resnet18"))
    fused = [layer for layer in fast.modules() if isinstance(layer, FusedConv)]
    assert [layer.clip[0] for layer in fused].count("relu") == 8
    assert [layer.clip for layer in fused][-1] == ("hardtanh", [0.0, 6.0])
    assert len([layer for layer in fast.modules() if isinstance(layer, PooledConv)]) == 1


def test_a_face_has_the_same_bits_alone_and_among_others():
    for net in (make("resnet18", WIDTH_MULT=0.25), make("dlib_resnet")):
        fast, image_NCHW = for_inference(net), images(net, 33)
        with torch.inference_mode():
            together = fast(image_NCHW)
            for num in (1, 2, 3, 5, 7, 16):
                some = fast(image_NCHW[:num])
                assert all(torch.equal(some[name], value[:num]) for name, value in together.items()), num


def test_the_model_stays_as_it_is_and_can_be_trained_further():
    net = make("resnet18", WIDTH_MULT=0.25).train()
    layers, state = list(net.modules()), copy.deepcopy(net.state_dict())
    fast = for_inference(net.eval())
    with torch.inference_mode():
        fast(images(net, 2))
    assert list(net.modules()) == layers and not any(layer.training for layer in fast.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name]) and value.stride() == state[name].stride(), name
    net.train()(images(net, 2))["embedding"].sum().backward()
    assert all(weight.grad is not None for name, weight in net.named_parameters() if "classifier" not in name)


def test_the_weights_of_the_model_are_freed_with_it():
    """At once, or both sets of weights would be in memory when the first batch is computed."""
    net = make("resnet18", WIDTH_MULT=0.25)
    conv = weakref.ref(net.backbone.conv1)
    gc.disable()
    try:
        fast = for_inference(net)
        del net
        assert conv() is None and fast is not None
    finally:
        gc.enable()


class Shared(nn.Module):
    """What must not be folded: a convolution called twice, one whose output is also read, a norm in training mode."""

    def __init__(self):
        super().__init__()
        self.twice, self.read, self.trained = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(4))
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.norms[1](self.twice(self.norms[0](self.twice(x))))
        y = self.read(x)
        x = self.norms[2](y) + self.relu(y)
        return self.norms[3](self.trained(x))


class Branching(nn.Module):
    """Two parts, and a choice between values, which torch.fx cannot trace."""

    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.same = nn.Conv2d(3, 4, 3, padding="same")
        self.around = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        part = self.part(x)
        return part if part.sum() < 0 else part + self.same(x)[..., 1:-1, 1:-1] + self.around(x)[..., 1:-1, 1:-1]


def test_what_cannot_be_folded_stays():
    net = Shared().eval()
    for norm in net.norms:
        norm.running_mean.normal_()
    net.norms[3].train()
    x = torch.randn(2, 3, 9, 9)
    with torch.inference_mode():
        fast = for_inference(net)
        assert len(norms(fast)) == 4
        torch.testing.assert_close(fast(x), net(x), rtol=0, atol=1e-5)


def test_a_net_that_cannot_be_traced_is_rewritten_in_parts():
    net, x = Branching().eval(), torch.randn(2, 3, 9, 9)
    net.part[1].running_mean.normal_()
    with torch.inference_mode():
        fast = for_inference(net)
        torch.testing.assert_close(fast(x), net(x), rtol=0, atol=1e-5)
    assert not norms(fast) and isinstance(fast.part.get_submodule("0"), FusedConv)
    assert fast.same is net.same and fast.around is net.around and isinstance(net.part[0], nn.Conv2d)


def test_nets_of_other_kinds_are_returned():
    half, meta, linear = nn.Conv2d(1, 1, 1).bfloat16(), nn.Conv2d(1, 1, 1, device="meta"), nn.Linear(2, 2)
    for net in (half, meta, linear, len):
        assert for_inference(net) is net


def test_without_one_dnn_the_model_is_returned(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    net = nn.Conv2d(1, 1, 1)
    assert for_inference(net) is net
