import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fecnet.modeling.backbone.inception_nn2 import InceptionNN2
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.pretrained import load_pretrained


@pytest.fixture(scope="module")
def torchvision_state():
    torch.manual_seed(7)
    return pytest.importorskip("torchvision.models").resnet18().state_dict()


def small_state(in_channels=3):
    torch.manual_seed(1)
    return ResNet18(in_channels=in_channels, width=0.125).state_dict()


def small_net(in_channels=3):
    torch.manual_seed(2)
    return ResNet18(in_channels=in_channels, width=0.125)


def assert_same(net, state):
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_torchvision_file_loads_whole(tmp_path, torchvision_state):
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision_state, path)
    net = ResNet18()
    report = load_pretrained(net, path)
    assert_same(net, torchvision_state)
    assert len(report.loaded) == 120
    assert report.missing == ()
    assert report.skipped == {"fc.weight": "no such name", "fc.bias": "no such name"}
    assert str(report).splitlines() == [
        f"{path}: 120 tensors loaded",
        "  not used: fc.weight (no such name), fc.bias (no such name)",
        "  missing: none",
    ]


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "backbone.", "model.", "module._orig_mod.backbone.", "resnet.", "base.", "features."],
)
@pytest.mark.parametrize("nested", [None, "state_dict", "model", "net"])
def test_prefixes_and_nesting(tmp_path, prefix, nested):
    state = small_state()
    content = {prefix + name: value for name, value in state.items()} | {"FC16.weight": torch.ones(16, 512)}
    torch.save({nested: content, "epoch": 3} if nested else content, tmp_path / "file.pt")
    net = small_net()
    report = load_pretrained(net, tmp_path / "file.pt")
    assert_same(net, state)
    assert report.prefix == prefix
    assert report.skipped == {"FC16.weight": "no such name"}


def test_safetensors_of_a_whole_net(tmp_path):
    state = small_state()
    save_file(
        {f"backbone.{name}": value for name, value in state.items()} | {"mean": torch.ones(1)},
        tmp_path / "m.safetensors",
    )
    net = small_net()
    report = load_pretrained(net, tmp_path / "m.safetensors")
    assert_same(net, state)
    assert list(report.skipped) == ["mean"]


@torch.no_grad()
def test_grey_net_answers_to_grey_as_the_colour_net(tmp_path):
    torch.save(small_state(), tmp_path / "file.pt")
    colour, grey = small_net().eval(), small_net(in_channels=1).eval()
    load_pretrained(colour, tmp_path / "file.pt")
    report = load_pretrained(grey, tmp_path / "file.pt")
    assert report.converted == {"conv1.weight": "3 input channels summed into 1"}
    assert report.missing == ()
    image = torch.randn(2, 1, 48, 48)
    torch.testing.assert_close(grey(image), colour(image.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_mask_channel_starts_without_influence(tmp_path):
    torch.save(small_state(), tmp_path / "file.pt")
    colour, masked = small_net().eval(), small_net(in_channels=4).eval()
    load_pretrained(colour, tmp_path / "file.pt")
    assert "conv1.weight" in load_pretrained(masked, tmp_path / "file.pt").converted
    image = torch.randn(2, 4, 48, 48)
    torch.testing.assert_close(masked(image), colour(image[:, :3]), rtol=1e-4, atol=1e-4)


def test_files_before_2018_lack_the_counters(tmp_path):
    state = small_state()
    torch.save({k: v for k, v in state.items() if "num_batches_tracked" not in k}, tmp_path / "file.pt")
    net = small_net()
    report = load_pretrained(net, tmp_path / "file.pt")
    assert report.missing == ()
    assert_same(net, state)


def test_a_net_with_a_gap_is_refused_and_stays_as_it_is(tmp_path):
    """Ninety-eight of a hundred tensors: training would go on from a net that nobody trained."""
    state = small_state()
    state["bn1.weight"] = torch.ones(9)
    del state["layer4.1.bn2.bias"]
    torch.save(state, tmp_path / "file.pt")
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    message = one_line_error(net, tmp_path / "file.pt")
    assert "does not cover ResNet18: 98 of the net's 100 tensors fit" in message
    assert "no weights for bn1.weight (shape 9, expected 8), layer4.1.bn2.bias; " in message
    assert_same(net, before)


def test_long_lists_are_cut_in_print_only(tmp_path):
    state = small_state() | {f"extra{i}": torch.ones(1) for i in range(10)}
    torch.save(state, tmp_path / "file.pt")
    report = load_pretrained(small_net(), tmp_path / "file.pt")
    assert len(report.skipped) == 10
    assert "and 4 more" in str(report)


def one_line_error(net, path):
    with pytest.raises(ValueError) as info:
        load_pretrained(net, path)
    message = str(info.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


def test_nothing_matches(tmp_path):
    torch.save(small_state(), tmp_path / "file.pt")
    net = InceptionNN2()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    message = one_line_error(net, tmp_path / "file.pt")
    assert "fits InceptionNN2" in message
    assert_same(net, before)


def test_batch_norm_counters_alone_are_no_match(tmp_path):
    torch.save(ResNet18(width=0.25).state_dict(), tmp_path / "file.pt")  # all names agree, no weight does
    assert "none of its 120 tensors fits" in one_line_error(small_net(), tmp_path / "file.pt")


@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
def test_damaged_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 20)
    assert "damaged" in one_line_error(small_net(), tmp_path / name)


def test_absent_files_and_files_without_weights(tmp_path):
    assert "no such file" in one_line_error(small_net(), tmp_path / "absent.pt")
    assert "a folder; allowed: a file of weights" in one_line_error(small_net(), tmp_path)
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    assert "no state dict" in one_line_error(small_net(), tmp_path / "list.pt")


def test_a_net_without_convolutions_loads_too(tmp_path):
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "file.pt")
    assert len(load_pretrained(nn.Linear(2, 3), tmp_path / "file.pt").loaded) == 2
