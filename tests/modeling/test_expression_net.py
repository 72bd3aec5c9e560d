import pytest
import torch
from torch import nn

from fecnet.modeling.backbone.inception_nn2 import InceptionNN2
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.head.embedding import EmbeddingHead
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.neck.necks import Conv3x3Neck, DenseBlockNeck


def make_net(in_channels=3, *, freeze_backbone=False, dropout=0.5):
    torch.manual_seed(0)
    backbone = ResNet18(in_channels=in_channels, width=0.25)
    neck = DenseBlockNeck(backbone.out_channels, 64)
    head = EmbeddingHead(neck.out_channels, feature_dim=64, dropout=dropout)
    mean, std = [0.3, 0.4, 0.5][:in_channels], [0.2, 0.25, 0.5][:in_channels]
    return ExpressionNet(backbone, neck, head, mean=mean, std=std, freeze_backbone=freeze_backbone)


def images(n=4, channels=3, size=48):
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [48, 64, 160])
def test_embeddings_are_unit_at_any_size(channels, size):
    net = make_net(channels).eval()
    out = net(images(2, channels, size))
    assert out["embedding"].shape == (2, 16)
    assert out["feature"].shape == (2, 64)
    torch.testing.assert_close(out["embedding"].norm(dim=1), torch.ones(2))


def test_uint8_and_float_are_the_same_image():
    net = make_net().eval()
    image = images()
    out, same = net(image), net(image.float() / 255)
    assert torch.equal(out["embedding"], same["embedding"])


def test_backbone_sees_the_normalised_image():
    net = make_net().eval()
    seen = []
    net.backbone.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    image = images(1)
    net(image)
    for channel, (mean, std) in enumerate([(0.3, 0.2), (0.4, 0.25), (0.5, 0.5)]):
        torch.testing.assert_close(seen[0][0, channel], (image[0, channel] / 255 - mean) / std)


def test_preprocessing_is_saved_with_the_weights():
    state = make_net().state_dict()
    assert state["mean"].shape == state["std"].shape == (1, 3, 1, 1)
    other = make_net()
    other.mean.zero_()
    other.load_state_dict(state)
    assert torch.equal(other.mean, state["mean"])


def test_frozen_backbone_keeps_weights_and_statistics():
    net = make_net(freeze_backbone=True).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net(images())["embedding"].square().sum().backward()
    after = net.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"neck"}  # the neck's batch norms do learn their statistics
    assert net.neck.training
    assert not net.backbone.training
    assert not any(m.training for m in net.backbone.modules())
    assert all(p.grad is None and not p.requires_grad for p in net.backbone.parameters())
    assert all(p.grad is not None for p in net.neck.parameters())


def test_unfrozen_backbone_learns():
    net = make_net().train()
    before = net.backbone.bn1.running_mean.clone()
    net(images())["embedding"][:, 0].sum().backward()
    assert not torch.equal(net.backbone.bn1.running_mean, before)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_training_on_one_grey_image_repeated_stays_finite():
    net = make_net(1, dropout=0.0).train()
    flat = torch.full((4, 1, 48, 48), 127, dtype=torch.uint8)
    net(flat)["embedding"][:, 0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_bf16_and_channels_last_give_nearly_the_same_embedding():
    net = make_net().eval()
    image = images(8)
    expected = net(image)["embedding"]
    net = net.to(memory_format=torch.channels_last)
    last = image.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(last)["embedding"], expected, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net(last)["embedding"]
    assert half.dtype == torch.float32
    assert (half * expected).sum(dim=1).min() > 0.95


def test_faces_that_hardly_differ_stay_apart_under_bf16():
    net = make_net().eval()
    image = images(1).float() / 255
    shift = torch.linspace(0, 1e-6, 8)[:, None] * torch.ones(net.head.embedding.in_features)
    net.head.relu = nn.Identity()
    net.head.feature.register_forward_hook(lambda module, args, out: out + shift)  # what 8 alike faces differ in
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(image.expand(8, -1, -1, -1))
    assert out["feature"].dtype == torch.float32
    assert len(out["embedding"].unique(dim=0)) == 8


@pytest.mark.filterwarnings("ignore")
def test_whole_net_traces_as_one_graph():
    backbone = InceptionNN2(in_channels=1, batch_norm=False)
    neck = Conv3x3Neck(backbone.out_channels, 32)
    head = EmbeddingHead(32, feature_dim=32)
    net = ExpressionNet(backbone, neck, head, mean=[0.5], std=[0.5], freeze_backbone=True).eval()
    image = images(2, 1)
    with torch.no_grad():
        traced = torch.compile(net, backend="eager", fullgraph=True)(image)
        torch.testing.assert_close(traced["embedding"], net(image)["embedding"])
