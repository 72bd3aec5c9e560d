"""Two branches from one start: what the net computes, what stays as it was, and what cannot be."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fecnet.config.node import load_config
from fecnet.encoder.build import load_encoder
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.build import build_model
from fecnet.modeling.deviation_net import DeviationNet
from fecnet.modeling.head.deviation import DeviationHead
from fecnet.modeling.neck.necks import Conv1x1Neck
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run

DEVIATION = ("MODEL.HEAD", "deviation", "MODEL.NECK", "none", "MODEL.FEATURE_DIM", "512", "MODEL.NECK_CHANNELS", "512")


def make_net(order=1):
    torch.manual_seed(0)
    backbone = ResNet18(in_channels=1, width=0.125, blocks=(1, 1))
    neck = Conv1x1Neck(backbone.out_channels, 8)
    head = DeviationHead(neck.out_channels, embedding_dim=4, order=order)
    return DeviationNet(backbone, neck, head, mean=[0.4], std=[0.2])


def part(net):
    with torch.no_grad():
        for weight in net.backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return net


@pytest.mark.parametrize("order", [1, 2, 4])
def test_head_equals_the_formula(order):
    torch.manual_seed(0)
    head = DeviationHead(6, embedding_dim=3, order=order).eval()
    torch.nn.init.normal_(head.embedding.bias)
    map_NCHW = torch.randn(2, 6, 3, 5)
    out = head(map_NCHW)
    for n in range(2):
        deviation_C = map_NCHW[n].sum((1, 2)) / 15
        torch.testing.assert_close(out["feature"][n], deviation_C)
        value_D = head.embedding.weight @ deviation_C + head.embedding.bias
        for factor in head.factors:
            value_D = value_D * (1 + factor.weight @ deviation_C)
        torch.testing.assert_close(out["embedding"][n], value_D / value_D.square().sum().sqrt())
    assert len(head.factors) == order - 1


def test_dropout_comes_before_the_projection():
    head = DeviationHead(64, order=2, dropout=0.5).train()
    map_NCHW = torch.randn(3, 64, 2, 2)
    first, second = head(map_NCHW), head(map_NCHW)
    assert torch.equal(first["feature"], second["feature"])
    assert not torch.equal(first["embedding"], second["embedding"])


def test_the_neck_gets_the_difference_of_the_branches():
    net = part(make_net()).eval()
    image = torch.rand(3, 1, 48, 48)
    with torch.no_grad():
        seen = (image - 0.4) / 0.2
        wanted = net.head(net.neck(net.backbone(seen) - net.identity(seen)))
        assert torch.equal(net(image)["embedding"], wanted["embedding"])


def test_branches_start_equal_and_training_parts_them():
    net = make_net().eval()
    image = torch.rand(4, 1, 48, 48)
    assert not net.extract(image).any()
    assert net.train().extract(image).any()  # batch norms take the statistics of the batch
    before = {name: value.clone() for name, value in net.identity.state_dict().items()}
    net(image)["embedding"][:, 0].sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in net.backbone.parameters())
    assert all(weight.grad is None and not weight.requires_grad for weight in net.identity.parameters())
    assert not any(layer.training for layer in net.identity.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.identity.state_dict().items())


def test_identity_begins_again_as_the_backbone_that_was_loaded():
    net = part(make_net())
    net.start_identity()
    for name, value in net.backbone.state_dict().items():
        assert torch.equal(net.identity.state_dict()[name], value)
    assert not any(weight.requires_grad for weight in net.identity.parameters())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("MODEL.FREEZE_BACKBONE", "true"), r"MODEL\.FREEZE_BACKBONE: true with MODEL\.HEAD 'deviation', .* false"),
        (
            ("MODEL.BACKBONE", "inception_nn2", "MODEL.BATCH_NORM", "false"),
            r"MODEL\.HEAD: 'deviation' with InceptionNN2 without batch norm and dropout: .* a backbone with batch norm",
        ),
        (("MODEL.PROJECTION_ORDER", "0"), r"MODEL\.PROJECTION_ORDER: 0; must be at least 1"),
        (("MODEL.FEATURE_DIM", "64"), r"MODEL\.FEATURE_DIM: 64 is not used by MODEL\.HEAD deviation"),
        (
            ("MODEL.HEAD", "embedding", "MODEL.PROJECTION_ORDER", "2"),
            r"MODEL\.PROJECTION_ORDER: 2 is not used by MODEL\.HEAD embedding; it is an option of deviation",
        ),
    ],
)
def test_what_cannot_be_is_one_line(settings, said):
    cfg = load_config(None, ["MODEL.HEAD", "deviation", "MODEL.NECK", "none", *settings])
    with pytest.raises(ValueError, match=said) as error:
        build_model(cfg, 1)
    assert "\n" not in str(error.value)


def weights(folder, recipe, *overrides, channels=1):
    """A state dict of the recipe's backbone, as of face recognition."""
    torch.manual_seed(1)
    net = build_model(load_config(recipe, [*DEVIATION, *overrides]), channels)
    path = folder / "faces.safetensors"
    save_file(net.backbone.state_dict(), path)
    return path


def run(recipe, name, *overrides):
    cfg = load_config(recipe, [*DEVIATION, "MODEL.PRETRAINED_ON", "faces", "NAME", name, *map(str, overrides)])
    assert train_run(cfg, recipe="tiny") == 0
    return recipe.parent / "result" / name


def saved(folder):
    return load_file(find_checkpoint(folder, "last") / "model.safetensors")


def test_a_run_keeps_the_identity_branch_to_the_bit(recipe, tmp_path):
    path = weights(tmp_path, recipe)
    folder = run(recipe, "branches", "MODEL.PRETRAINED", path, "SOLVER.EMA_DECAY", 0.9, "SOLVER.WEIGHT_DECAY", 0.1)
    tensors, start = saved(folder), load_file(path)
    for name, value in start.items():
        assert torch.equal(tensors[f"identity.{name}"], value), name
        assert name.endswith("num_batches_tracked") or not torch.equal(tensors[f"backbone.{name}"], value), name
    assert load_info(find_checkpoint(folder, "last")).pretraining == "faces"

    # a run that begins with all of it begins with two branches, not with one twice
    last = find_checkpoint(folder, "last") / "model.safetensors"
    again = saved(run(recipe, "again", "MODEL.PRETRAINED", last, "MODEL.PRETRAINED_PARTS", "all", "SOLVER.LENGTH", 1))
    assert all(torch.equal(again[f"identity.{name}"], value) for name, value in start.items())


def test_the_net_needs_no_file_when_it_is_used(recipe, tmp_path):
    path = weights(tmp_path, recipe)
    folder = run(recipe, "used", "MODEL.PRETRAINED", path)
    path.unlink()
    result = infer_run(str(folder), baselines=True)["triplets"]["splits"]["test"]
    assert result["untrained net"]["ALL"]["percent"] is None  # its branches are equal: no accuracy
    assert result["fecnet"]["ALL"]["percent"] is not None
    encoder = load_encoder(folder)
    face = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    assert np.isfinite(encoder.embed(face)).all()


@pytest.mark.parametrize("changes", [(), ("MODEL.PRETRAINED_ON", "")])
def test_an_identity_of_random_weights_is_refused(recipe, changes):
    said = r"^MODEL\.PRETRAINED: empty, but MODEL\.HEAD 'deviation' keeps an identity branch .*: weights of face recogn"
    with pytest.raises(ValueError, match=said):
        train_run(load_config(recipe, [*DEVIATION, *changes]), recipe="tiny")
    assert not (recipe.parent / "result").exists()


def test_weights_of_another_input_size_are_one_line(recipe, tmp_path):
    plain = ("MODEL.WIDTH_MULT", "1.0", "MODEL.BLOCKS", "[2,2,2,2]", "MODEL.BACKBONE", "iresnet18")
    path = weights(tmp_path, recipe, *plain, "DATA.INPUT_SIZE", "64")
    with pytest.raises(ValueError, match=r"faces\.safetensors: .*fc\.weight \(shape .*DATA\.INPUT_SIZE 64") as error:
        run(recipe, "size", *plain, "MODEL.PRETRAINED", path)
    assert "\n" not in str(error.value)
