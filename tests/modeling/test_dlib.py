"""dlib's face recognition net: its file, as dlib writes it, and its layers once more by hand."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.modeling.backbone.dlib_resnet import STAGES, DlibResNet
from fecnet.modeling.pretrained import load_pretrained
from fecnet.modeling.statistics import take_statistics
from fecnet.runs.training import train_run

BLOCKS = [channels for channels, number in STAGES for _ in range(number)]
MEAN_RGB = torch.tensor([122.782, 117.001, 104.298])


def integer(value):
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([size]) + value.to_bytes(size, "little")


def tagged(tag, values):
    sizes = b"".join(map(integer, (2, len(values), 1, 1, 1)))
    return integer(len(tag)) + tag.encode() + sizes + np.asarray(values, "<f4").tobytes()


@pytest.fixture(scope="module")
def parameters():
    """Weight, bias, scale and shift of each convolution, in order; 3×3 but for the first."""
    rng = np.random.default_rng(0)
    inputs = [3, *[size for before, size in zip([32, *BLOCKS], BLOCKS, strict=False) for size in (before, size)]]
    outputs = [32, *[size for size in BLOCKS for _ in range(2)]]
    found = []
    for place, (in_channels, out_channels) in enumerate(zip(inputs, outputs, strict=True)):
        side = 3 if place else 7
        weight = rng.normal(size=(out_channels, in_channels, side, side)) * (2 / (in_channels * side**2)) ** 0.5
        rest = [rng.normal(size=out_channels) * 0.1 + mean for mean in (0, 1, 0)]
        found.append([torch.tensor(value, dtype=torch.float32) for value in (weight, *rest)])
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory, parameters):
    layers = []
    for weight, bias, scale, shift in parameters:
        layers.append(tagged("con_4", np.concatenate([weight.flatten(), bias])) + integer(len(bias)))
        layers.append(tagged("affine_", np.concatenate([scale, shift])) + integer(5) + b"relu_")
    layers.append(tagged("con_4", np.zeros(10)) + tagged("affine_", np.zeros(4)))  # of the last block, not read
    path = tmp_path_factory.mktemp("dlib") / "net.dat"
    path.write_bytes(b"".join(layers))
    return path


def by_hand(parameters, pixel_NCHW):
    """dlib's layers: the image in 0..255, affine layers, no padding where the stride is 2."""
    rest = iter(parameters)

    def convolve(map_NCHW, stride):
        weight, bias, scale, shift = next(rest)
        out = F.conv2d(map_NCHW, weight, bias, stride=stride, padding=0 if stride == 2 else 1)
        return out * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)

    now = F.max_pool2d(convolve((pixel_NCHW - MEAN_RGB.view(1, 3, 1, 1)) / 256, 2).relu(), 3, 2)
    for place, size in enumerate(BLOCKS):
        stride = 2 if place and size != BLOCKS[place - 1] else 1
        branch = convolve(convolve(now, stride).relu(), 1)
        shortcut = F.avg_pool2d(now, 2) if stride == 2 else now
        shape = [max(sizes) for sizes in zip(branch.shape, shortcut.shape, strict=True)]
        total = torch.zeros(shape)
        for part in (branch, shortcut):
            total[tuple(map(slice, part.shape))] += part
        now = total.relu()
    return now


@pytest.mark.parametrize("size", [64, 83])
def test_the_net_computes_what_dlib_computes(path, parameters, size):
    pixel = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0)).float()
    net = DlibResNet(in_channels=3, input_size=size).eval()
    load_pretrained(net, path)
    wanted = by_hand(parameters, pixel)
    torch.testing.assert_close(net((pixel / 255 - 0.5) / 0.5), wanted, rtol=1e-4, atol=1e-4 * wanted.max().item())


def test_a_grey_face_is_seen_as_three_equal_colours(path, parameters):
    pixel = torch.randint(0, 256, (1, 1, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    net = DlibResNet(in_channels=1, input_size=64).eval()
    assert "3 input channels summed into 1" in str(load_pretrained(net, path))
    wanted = by_hand(parameters, pixel.expand(-1, 3, -1, -1))
    torch.testing.assert_close(net((pixel / 255 - 0.5) / 0.5), wanted, rtol=1e-4, atol=1e-4 * wanted.max().item())


def test_statistics_change_what_training_sees_and_not_what_is_computed(path):
    image = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    net = DlibResNet(in_channels=1, input_size=64)
    load_pretrained(net, path)
    batch_before, before = deepcopy(net).train()(image), net.eval()(image)
    take_statistics(net, image)
    after, batch_after = net(image), net.train()(image)
    largest = before.max().item()
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4 * largest)
    torch.testing.assert_close(batch_after, before, rtol=0, atol=1e-3 * largest)
    assert (batch_before - before).abs().max() > 0.1 * largest


def test_a_run_starts_from_the_file(path, recipe):
    first = ("MODEL.BACKBONE", "dlib_resnet", "MODEL.WIDTH_MULT", "1.0", "MODEL.BLOCKS", "[2, 2, 2, 2]")
    options = (*first, "DATA.INPUT_SIZE", "64", "SOLVER.BASE_LR", "1e-9", "SOLVER.LENGTH", "1", "EVAL.PERIOD", "0")
    start = ("MODEL.PRETRAINED", str(path), "MODEL.PRETRAINED_ON", "random faces")
    with pytest.raises(ValueError, match=r"MODEL.MEAN: \[0.4\] with weights of dlib; allowed: \[0.5\]"):
        train_run(load_config(recipe, [*options, *start, "MODEL.MEAN", "[0.4]"]), recipe="started")
    assert train_run(load_config(recipe, [*options, *start, "SOLVER.WEIGHT_DECAY", "0.0"]), recipe="started") == 0
    saved = load_file(find_checkpoint(recipe.parent / "result" / "started", "last") / "model.safetensors")
    net = DlibResNet(in_channels=1, input_size=64)
    load_pretrained(net, path)
    for name, value in net.state_dict().items():
        if name.endswith(("conv.weight", "conv1.weight", "conv2.weight")):
            torch.testing.assert_close(saved[f"backbone.{name}"], value)
    assert saved["backbone.stem.norm.running_var"].sub(1).abs().min() > 0.01  # of the faces, no longer 1


def test_a_deviation_keeps_the_net_of_the_file(path, recipe):
    options = ("MODEL.BACKBONE", "dlib_resnet", "MODEL.WIDTH_MULT", "1.0", "MODEL.BLOCKS", "[2, 2, 2, 2]")
    options += ("MODEL.HEAD", "deviation", "MODEL.NECK", "none", "MODEL.FEATURE_DIM", "512", "EVAL.PERIOD", "0")
    options += ("MODEL.NECK_CHANNELS", "512", "DATA.INPUT_SIZE", "64", "SOLVER.BASE_LR", "0.01", "SOLVER.LENGTH", "2")
    start = ("MODEL.PRETRAINED", str(path), "MODEL.PRETRAINED_ON", "random faces")
    assert train_run(load_config(recipe, [*options, *start]), recipe="deviation") == 0
    saved = load_file(find_checkpoint(recipe.parent / "result" / "deviation", "last") / "model.safetensors")
    alone, kept, trained = (DlibResNet(in_channels=1, input_size=64).eval() for _ in range(3))
    load_pretrained(alone, path)
    for net, prefix in ((kept, "identity."), (trained, "backbone.")):
        net.load_state_dict({name.removeprefix(prefix): saved[name] for name in saved if name.startswith(prefix)})
    image = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        wanted, same, other = alone(image), kept(image), trained(image)
    torch.testing.assert_close(same, wanted, rtol=0, atol=1e-4 * wanted.max().item())
    assert (other - wanted).abs().max() > 0.01 * wanted.max()


def test_another_file_is_named(tmp_path, path):
    net = DlibResNet(in_channels=1, input_size=64)
    content = path.read_bytes()
    for wrong, said in (
        (content[:100_000], r"cut short or damaged in the layer at byte"),
        (content[:40], r"cut short or damaged in the layer at byte 0"),
        (b"no net", r"0 layers with weights; dlib's face recognition net has 58"),
        (tagged("con_4", np.zeros(9)) * 60, r"9 and 9 numbers where stem.conv and stem.norm of dlib's"),
    ):
        (tmp_path / "wrong.dat").write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"^[^\n]*wrong.dat: [^\n]*{said}[^\n]*$"):
            load_pretrained(net, tmp_path / "wrong.dat")


def test_small_images_are_refused():
    with pytest.raises(ValueError, match=r"DATA.INPUT_SIZE: 63 with dlib_resnet; allowed: 64 or more"):
        DlibResNet(in_channels=1, input_size=63)
