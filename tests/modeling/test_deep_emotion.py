import pytest
import torch
from torch import nn

from fecnet.modeling.backbone.deep_emotion import MIN_SIZE, DeepEmotion
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.pretrained import load_pretrained
from tests.modeling import published

IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def make(**options):
    torch.manual_seed(3)
    return DeepEmotion(**options)


def test_count_is_the_published_one():
    localisation = (7 * 7 * 8 + 8) + (5 * 5 * 8 * 10 + 10) + (640 * 32 + 32) + (32 * 6 + 6)
    body = (9 * 10 + 10) + 3 * (9 * 100 + 10) + 2 * 10 + (810 * 50 + 50)
    net = make()
    assert num_parameters(net) == localisation + body
    assert num_parameters(nn.Sequential(net, nn.Linear(net.out_channels, 7))) == 66_877


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 48, 48), (3, 61, 50), (2, 112, 112)])
def test_starts_by_leaving_the_image_as_it_is(shape):
    net = make(in_channels=shape[0])
    image = torch.randn(2, *shape)
    torch.testing.assert_close(net.transform(image), image, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_transformer_moves_the_image_by_whole_pixels():
    net = make()
    net.fc_loc[2].bias[2] = 2 * 5 / 48  # looks 5 px to the right
    net.fc_loc[2].bias[5] = -2 * 3 / 48  # and 3 px up
    image = torch.randn(1, 1, 48, 48)
    expected = torch.zeros_like(image)
    expected[..., 3:, :43] = image[..., :45, 5:]
    torch.testing.assert_close(net.transform(image), expected, rtol=1e-4, atol=1e-4)


def test_the_transformer_learns_from_its_identity():
    net = make(dropout=0.0)
    net(torch.randn(4, 1, 48, 48)).square().sum().backward()
    for parameter in net.fc_loc[2].parameters():
        assert parameter.grad.abs().max() > 0


@torch.no_grad()
def test_published_weights_load_and_compute_the_same(tmp_path):
    torch.manual_seed(5)
    state = published.deep_emotion_state()
    torch.save(state, tmp_path / "deep_emotion.pt")
    net = make().eval()
    report = load_pretrained(net, tmp_path / "deep_emotion.pt")
    assert report.missing == ()
    assert set(report.skipped) == {"fc2.weight", "fc2.bias"}
    image = torch.randn(2, 1, 48, 48)
    theta = published.deep_emotion_theta(state, image)
    assert (theta - torch.tensor(IDENTITY).view(2, 3)).abs().max() > 0.05
    seen = torch.stack([published.sampled_by_hand(image[n, 0], theta[n]) for n in range(2)])[:, None]
    torch.testing.assert_close(net.transform(image), seen, rtol=1e-3, atol=1e-4)
    expected = published.deep_emotion_features(state, seen)
    assert (expected > 0).float().mean() > 0.1
    torch.testing.assert_close(net(image).flatten(1), expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_colour_checkpoint_of_ours_loads_into_a_grey_net_and_with_a_mask(tmp_path):
    colour = make(in_channels=3).eval()
    colour.fc_loc[2].weight.normal_(0, 0.01)
    torch.save({f"backbone.{name}": value for name, value in colour.state_dict().items()}, tmp_path / "colour.pt")
    grey, masked = make(in_channels=1).eval(), make(in_channels=4).eval()
    for net in (grey, masked):  # both convolutions that look at the image
        report = load_pretrained(net, tmp_path / "colour.pt")
        assert set(report.converted) == {"localization.0.weight", "conv1.weight"}
        assert report.missing == ()
    image = torch.randn(2, 4, 48, 48)
    repeated = image[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(grey(image[:, :1]), colour(repeated), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(masked(image), colour(image[:, :3]), rtol=1e-4, atol=1e-4)


def test_mixed_precision_keeps_the_places_of_the_image():
    net = make(in_channels=1).to(memory_format=torch.channels_last)
    image = torch.randn(2, 1, 112, 112)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net.transform(image), image, rtol=1e-4, atol=1e-4)
        features = net(image)
    features.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@torch.no_grad()
def test_dropout_is_off_in_evaluation_and_where_frozen():
    image = torch.rand(8, 1, 48, 48)
    net = make()
    assert net.dropout.p == 0.5
    assert not torch.equal(net(image), net(image))
    assert torch.equal(net.eval()(image), net(image))
    assert make(dropout=0.25).dropout.p == 0.25
    whole = ExpressionNet(make(), nn.Identity(), nn.Flatten(), mean=[0.5], std=[0.5], freeze_backbone=True).train()
    assert torch.equal(whole(image), whole(image))


@torch.no_grad()
def test_names_the_smallest_image():
    net = make().eval()
    with pytest.raises(ValueError, match=f"^deep_emotion needs images of at least {MIN_SIZE} px a side, got 48×44$"):
        net(torch.rand(1, 1, 48, 44))
