import re

import pytest
import torch

from fecnet.modeling.backbone.iresnet import IRESNET18_BLOCKS, IRESNET50_BLOCKS, IResNet
from fecnet.modeling.pretrained import load_pretrained
from tests.modeling import published


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def count_by_hand(blocks, side):
    total = 3 * 64 * 9 + 2 * 64 + 64
    channels = 64
    for count, out in zip(blocks, (64, 128, 256, 512), strict=True):
        for i in range(count):
            total += 2 * channels + channels * out * 9 + 2 * out + out + out * out * 9 + 2 * out
            total += channels * out + 2 * out if i == 0 else 0
            channels = out
    return total + 2 * 512 + 512 * side**2 * 512 + 512 + 2 * 512


@pytest.mark.parametrize(
    ("blocks", "count"),
    # insightface's modules at 112 px; 43,590,976 is its exported ONNX file, where batch norms are folded
    [(IRESNET18_BLOCKS, 24_025_600), (IRESNET50_BLOCKS, 43_590_848)],
)
def test_counts_are_insightfaces(blocks, count):
    assert count_by_hand(blocks, 7) == count
    assert num_parameters(IResNet(blocks)) == count


@pytest.mark.parametrize(("size", "side"), [(48, 3), (50, 4), (112, 7), (224, 14)])
def test_the_fc_is_sized_by_the_input(size, side):
    net = IResNet((1, 1, 1, 1), input_size=size, feature_dim=8).eval()
    assert net.fc.in_features == 512 * side**2
    with torch.no_grad():
        assert net(torch.randn(1, 3, size, size)).shape == (1, 8, 1, 1)
    assert net.out_channels == 8


@pytest.mark.parametrize("blocks", [IRESNET18_BLOCKS, IRESNET50_BLOCKS])
@torch.no_grad()
def test_insightfaces_file_loads_and_computes_the_same(tmp_path, blocks):
    torch.manual_seed(4)
    state = published.insightface_state(blocks, side=3)
    torch.save(state, tmp_path / "backbone.pth")
    net, without_fc = IResNet(blocks, input_size=48).eval(), IResNet(blocks, input_size=None).eval()
    report = load_pretrained(net, tmp_path / "backbone.pth")
    assert report.missing == ()
    assert report.skipped == {}
    image = torch.randn(2, 3, 48, 48)
    last_map, embedding = published.insightface_net(state, blocks, image)
    scale = last_map.abs().max().item()
    torch.testing.assert_close(net(image).flatten(1), embedding, rtol=1e-4, atol=1e-5 * scale)
    report = load_pretrained(without_fc, tmp_path / "backbone.pth")
    assert report.missing == ()
    assert {name.partition(".")[0] for name in report.skipped} == {"fc", "features"}
    torch.testing.assert_close(without_fc(image), last_map, rtol=1e-4, atol=1e-5 * scale)


def test_another_input_size_is_refused_with_the_files_own(tmp_path):
    net = IResNet(IRESNET18_BLOCKS, input_size=48)
    torch.save(IResNet(IRESNET18_BLOCKS, input_size=32).state_dict(), tmp_path / "backbone.pth")
    with pytest.raises(
        ValueError, match=r"no weights for fc.weight \(shape 512×2048, expected 512×4608\); it fits: "
    ) as e:
        load_pretrained(net, tmp_path / "backbone.pth")
    assert str(e.value).endswith("MODEL.BACKBONE iresnet18 MODEL.IRESNET_FC true DATA.INPUT_SIZE 32")


@torch.no_grad()
def test_without_fc_any_image_passes():
    net = IResNet((1, 1, 1, 1), input_size=None, in_channels=1).eval()
    assert net(torch.randn(1, 1, 49, 64)).shape == (1, 512, 4, 4)


def test_wrong_images_are_named():
    net = IResNet((1, 1, 1, 1), input_size=48)
    message = "iresnet's FC is sized for images of 48×48 px, got 48×64"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        net(torch.randn(2, 3, 48, 64))
    with pytest.raises(ValueError, match=r"at least 2 images in a forward pass, got 1$"):
        net(torch.randn(1, 3, 48, 48))
    assert torch.isfinite(net(torch.randn(2, 3, 48, 48))).all()
