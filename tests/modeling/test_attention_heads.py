"""SCN and RAN heads against loops over single numbers, and RAN's way from N images to 6N regions and back."""

import copy
import math

import pytest
import torch
from torch import nn

from fecnet.layers.regions import face_regions
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.head.ran import RanHead
from fecnet.modeling.head.scn import ScnHead
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.neck.necks import Conv1x1Neck
from fecnet.modeling.region_net import RegionNet


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def linear(layer, vector):
    """A linear layer, one product at a time."""
    rows = layer.weight.tolist()
    return [
        sum(w * x for w, x in zip(row, vector, strict=True)) + b
        for row, b in zip(rows, layer.bias.tolist(), strict=True)
    ]


def naive_scn(classifier, feature):
    importance = sigmoid(linear(classifier.importance, feature)[0])
    return importance, [importance * logit for logit in linear(classifier.classes, feature)]


def naive_fusion(attention, regions):
    """Fused feature and α of one image."""
    alphas = [sigmoid(linear(attention.alpha, v)[0]) for v in regions]
    size = range(len(regions[0]))
    mean = [sum(a * v[k] for a, v in zip(alphas, regions, strict=True)) / sum(alphas) for k in size]
    both = [[*v, *mean] for v in regions]
    weights = [a * sigmoid(linear(attention.beta, v)[0]) for a, v in zip(alphas, both, strict=True)]
    fused = [sum(w * v[k] for w, v in zip(weights, both, strict=True)) / sum(weights) for k in range(2 * len(size))]
    return fused, alphas


def test_scn_head_equals_the_loop():
    torch.manual_seed(0)
    head = ScnHead(5, 3, dropout=0.5).double().eval()
    map_NCHW = torch.randn(4, 5, 2, 3, dtype=torch.float64)
    out = head(map_NCHW)
    assert out["importance"].shape == (4,)
    for n in range(4):
        feature = [map_NCHW[n, c].sum().item() / 6 for c in range(5)]
        importance, logits = naive_scn(head.classifier, feature)
        assert out["feature"][n].tolist() == pytest.approx(feature)
        assert out["importance"][n].item() == pytest.approx(importance)
        assert out["logits"][n].tolist() == pytest.approx(logits)


@pytest.mark.parametrize("scn", [False, True])
def test_ran_head_equals_the_loop(scn):
    torch.manual_seed(1)
    head = RanHead(4, 3, dropout=0.5, scn=scn).double().eval()
    map_NCHW = torch.randn(2 * 6, 4, 2, 2, dtype=torch.float64)
    out = head(map_NCHW)
    assert out["region_importance"].shape == (2, 6)
    assert ("importance" in out) == scn
    for n in range(2):
        regions = [[map_NCHW[6 * n + r, c].mean().item() for c in range(4)] for r in range(6)]
        fused, alphas = naive_fusion(head.attention, regions)
        assert out["feature"][n].tolist() == pytest.approx(fused)
        assert out["region_importance"][n].tolist() == pytest.approx(alphas)
        if scn:
            importance, logits = naive_scn(head.classifier, fused)
            assert out["importance"][n].item() == pytest.approx(importance)
        else:
            logits = linear(head.classifier, fused)
        assert out["logits"][n].tolist() == pytest.approx(logits)


@pytest.mark.parametrize("bias", [-200.0, -1e4])  # float32's exponential ends at -104
def test_importances_too_small_for_a_float_still_have_shares(bias):
    torch.manual_seed(2)
    head = RanHead(4, 3).eval()
    for importance in (head.attention.alpha, head.attention.beta):
        torch.nn.init.constant_(importance.bias, bias)
    map_NCHW = torch.randn(6, 4, 1, 1)
    out = head(map_NCHW)
    assert out["region_importance"].tolist() == [[0.0] * 6]
    # σ(x) is exp(x) down here
    share_R = copy.deepcopy(head.attention.alpha).double().log(map_NCHW[:, :, 0, 0].double())[:, 0].softmax(0)
    assert out["feature"][0, 4:].tolist() == pytest.approx((share_R @ map_NCHW[:, :, 0, 0].double()).tolist(), abs=1e-2)
    out["logits"].sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in head.parameters())


def region_net(scn=False):
    torch.manual_seed(0)
    backbone = ResNet18(in_channels=1, width=0.125, blocks=(1, 1))
    neck = Conv1x1Neck(backbone.out_channels, 8)
    head = RanHead(neck.out_channels, 7, scn=scn)
    return RegionNet(backbone, neck, head, mean=[0.4], std=[0.2])


@pytest.mark.parametrize("scn", [False, True])
def test_region_net_goes_from_images_to_regions_and_back(scn):
    net = region_net(scn).eval()
    image = torch.randint(0, 256, (3, 1, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        out = net(image)
        assert out["logits"].shape == (3, 7)
        assert out["region_importance"].shape == (3, 6)
        # each image by itself, each region by itself
        for n in range(3):
            regions = face_regions(image[n : n + 1] / 255)[0]
            maps = [net.neck(net.backbone((region[None] - 0.4) / 0.2)) for region in regions]
            alone = net.head(torch.cat(maps))
            torch.testing.assert_close(out["logits"][n], alone["logits"][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(image / 255)["logits"], out["logits"])


def test_every_parameter_of_scn_and_ran_together_learns():
    net = region_net(scn=True).train()
    out = net(torch.rand(2, 1, 48, 48))
    (out["logits"].square().sum() + out["importance"].sum() + out["region_importance"].sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_importances_keep_their_order_in_half_precision():
    torch.manual_seed(0)
    net = ExpressionNet(nn.Identity(), nn.Identity(), ScnHead(64, 3), mean=[0.0] * 64, std=[1.0] * 64)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(1 + torch.rand(200, 64, 1, 1) / 10)["importance"]
    assert half.dtype == torch.float32
    assert len(half.unique()) > 190
