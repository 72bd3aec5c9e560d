import pytest
import torch
from torch import nn

from fecnet.modeling.backbone.vgg import VGG, VGG16_STAGES, VGG19_STAGES
from fecnet.modeling.pretrained import load_pretrained
from tests.modeling import published

STAGES = {"D": VGG16_STAGES, "E": VGG19_STAGES}  # the letters of arXiv:1409.1556, which torchvision uses


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def torchvision_features(letter):
    """Without torchvision's classifier, whose 124 million parameters are not ours."""
    vgg = pytest.importorskip("torchvision.models.vgg")
    return vgg.make_layers(vgg.cfgs[letter], batch_norm=True)


def test_vgg19_count_is_the_fer2013_systems():
    net = VGG(VGG19_STAGES)
    assert num_parameters(nn.Sequential(net, nn.Dropout(0.5), nn.Linear(net.out_channels, 7))) == 20_038_983


def test_counts_are_torchvisions():
    classifier = (512 * 49 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 1000 + 1000)
    assert num_parameters(VGG(VGG16_STAGES)) + classifier == 138_365_992  # vgg16_bn
    assert num_parameters(VGG(VGG19_STAGES)) + classifier == 143_678_248  # vgg19_bn


@pytest.mark.parametrize("letter", STAGES)
@torch.no_grad()
def test_torchvisions_file_loads_and_computes_the_same(tmp_path, letter):
    torch.manual_seed(4)
    reference = torchvision_features(letter).eval()
    for name, buffer in reference.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    state = {f"features.{name}": value for name, value in reference.state_dict().items()}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg.pth")
    net = VGG(STAGES[letter]).eval()
    report = load_pretrained(net, tmp_path / "vgg.pth")
    assert report.missing == ()
    assert report.prefix == ""
    assert report.skipped == {"classifier.6.bias": "no such name"}
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(net(image), reference(image), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fer2013_checkpoint_loads_and_computes_the_same(tmp_path):
    torch.manual_seed(4)
    state = published.fer2013_vgg19_state()
    content = {"net": state, "best_PrivateTest_acc": torch.tensor(73.2), "best_PrivateTest_acc_epoch": 200}
    torch.save(content, tmp_path / "PrivateTest_model.t7")
    net = VGG(VGG19_STAGES, in_channels=1).eval()  # grey data, and weights made for three channels fit as they are
    report = load_pretrained(net, tmp_path / "PrivateTest_model.t7")
    assert report.missing == ()
    assert report.converted == {}
    assert set(report.skipped) == {"classifier.weight", "classifier.bias"}
    grey = torch.randn(2, 1, 44, 44)
    expected = published.fer2013_vgg19(state, grey.expand(-1, 3, -1, -1))
    assert expected.shape == (2, 512, 1, 1)
    torch.testing.assert_close(net(grey), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_mask_beside_grey_stays_a_mask(tmp_path):
    torch.manual_seed(4)
    plain, masked = VGG(VGG16_STAGES, in_channels=1).eval(), VGG(VGG16_STAGES, in_channels=2).eval()
    torch.save(plain.state_dict(), tmp_path / "grey.pt")
    report = load_pretrained(masked, tmp_path / "grey.pt")
    assert report.converted == {"features.0.weight": "a fourth input channel of zeros added for the mask"}
    image = torch.randn(2, 2, 44, 44)
    torch.testing.assert_close(masked(image), plain(image[:, :1]), rtol=1e-4, atol=1e-5)
    masked.features[0].weight[:, 3] = 1.0
    assert not torch.allclose(masked(image), plain(image[:, :1]), atol=1e-3)
