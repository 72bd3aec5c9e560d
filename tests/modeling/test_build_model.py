import re

import pytest
import torch
from easydict import EasyDict

from fecnet.modeling.build import build_model
from fecnet.utils.lookup import lookup


def make_cfg(**changes):
    model = {
        "BACKBONE": "resnet18",
        "WIDTH_MULT": 0.125,
        "BLOCKS": [2, 2, 2, 2],
        "STEM": "imagenet",
        "LAYER_CHANNELS": [],
        "IRESNET_FC": True,
        "BACKBONE_DROPOUT": 0.5,
        "BATCH_NORM": True,
        "NECK": "conv3x3",
        "HEAD": "embedding",
        "NECK_CHANNELS": 32,
        "FEATURE_DIM": 24,
        "EMBEDDING_DIM": 8,
        "PROJECTION_ORDER": 1,
        "DROPOUT": 0.5,
        "FREEZE_BACKBONE": False,
        "MEAN": [0.5],
        "STD": [0.5],
    }
    return EasyDict(MODEL=model | changes, DATA={"INPUT_SIZE": 48})


BACKBONES = [
    *("resnet18", "vgg16", "vgg19", "iresnet18", "iresnet50", "deep_emotion"),
    *("inception_nn2", "inception_resnet_v1"),
]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("neck", ["dense_block", "conv3x3", "conv1x1"])
@torch.no_grad()
def test_every_combination_builds_and_runs(backbone, neck):
    cfg = make_cfg(BACKBONE=backbone, NECK=neck, WIDTH_MULT=0.125 if backbone == "resnet18" else 1.0)
    out = build_model(cfg, 1).eval()(torch.rand(1, 1, 48, 48))
    assert out["embedding"].shape == (1, 8)
    assert out["feature"].shape == (1, 24)
    torch.testing.assert_close(out["embedding"].norm(dim=1), torch.ones(1))


def test_settings_reach_the_net():
    net = build_model(make_cfg(DROPOUT=0.25, FREEZE_BACKBONE=True, MEAN=[0.1, 0.2, 0.3], STD=[0.5]), 3)
    assert net.head.dropout.p == 0.25
    assert net.freeze_backbone
    assert net.training
    assert net.backbone.out_channels == 64
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.5, 0.5, 0.5]))
    plain = build_model(make_cfg(BACKBONE="inception_nn2", WIDTH_MULT=1.0, BATCH_NORM=False), 1)
    assert not any("running_mean" in name for name in plain.backbone.state_dict())


@pytest.mark.parametrize(
    ("backbone", "count"),
    [("vgg16", 14_723_136), ("vgg19", 20_035_392), ("iresnet50", 43_590_848), ("deep_emotion", 66_877 - 7 * 51)],
)
def test_names_build_the_published_nets(backbone, count):
    cfg = make_cfg(BACKBONE=backbone, WIDTH_MULT=1.0)
    cfg.DATA.INPUT_SIZE = 112
    net = build_model(cfg, 1 if backbone == "deep_emotion" else 3).backbone
    assert sum(p.numel() for p in net.parameters()) == count


def test_backbone_settings_reach_the_net():
    cifar = build_model(make_cfg(STEM="cifar"), 1).backbone
    assert cifar.conv1.kernel_size == (3, 3)
    cfg = make_cfg(BACKBONE="iresnet18", WIDTH_MULT=1.0)
    assert build_model(cfg, 1).backbone.fc.in_features == 512 * 9  # 48 px leave 3×3
    cfg.MODEL.IRESNET_FC = False
    assert not hasattr(build_model(cfg, 1).backbone, "fc")
    cfg = make_cfg(BACKBONE="deep_emotion", WIDTH_MULT=1.0, BACKBONE_DROPOUT=0.1)
    assert build_model(cfg, 1).backbone.dropout.p == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"BACKBONE": "resnet19", "WIDTH_MULT": 1.0},
            "MODEL.BACKBONE: unknown name 'resnet19'; allowed: deep_emotion, dlib_resnet, inception_nn2, "
            "inception_resnet_v1, iresnet18, iresnet50, resnet18, vgg16, vgg19",
        ),
        ({"NECK": "dense"}, "MODEL.NECK: unknown name 'dense'; allowed: conv1x1, conv3x3, dense_block, none"),
        (
            {"BACKBONE": "inception_nn2"},
            "MODEL.WIDTH_MULT: 0.125 is not used by MODEL.BACKBONE inception_nn2; it is an option of resnet18; "
            "allowed here: 1.0",
        ),
        ({"STEM": "vgg"}, "MODEL.STEM: unknown name 'vgg'; allowed: cifar, imagenet"),
        (
            {"BACKBONE": "vgg19", "WIDTH_MULT": 1.0, "STEM": "cifar"},
            "MODEL.STEM: 'cifar' is not used by MODEL.BACKBONE vgg19; it is an option of resnet18; allowed here: "
            "'imagenet'",
        ),
        (
            {"BACKBONE": "deep_emotion", "WIDTH_MULT": 1.0, "BACKBONE_DROPOUT": 1.0},
            "MODEL.BACKBONE_DROPOUT: 1.0; must be at least 0 and below 1",
        ),
        ({"WIDTH_MULT": 0.0}, "MODEL.WIDTH_MULT: 0.0; must be above 0"),
        ({"BLOCKS": [2, 0]}, "MODEL.BLOCKS: [2, 0]; one to four stages of at least one block"),
        ({"MEAN": [0.5, 0.5]}, "MODEL.MEAN: 2 values for 3 channels; give 1 or 3"),
        ({"STD": []}, "MODEL.STD: 0 values for 3 channels; give 1 or 3"),
        ({"STD": [0.5, 0.0, 0.5]}, "MODEL.STD: [0.5, 0.0, 0.5]; every value must be above 0"),
        ({"EMBEDDING_DIM": 0}, "MODEL.EMBEDDING_DIM: 0; must be at least 1"),
        ({"DROPOUT": 1.0}, "MODEL.DROPOUT: 1.0; must be at least 0 and below 1"),
    ],
)
def test_wrong_settings_name_their_key(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        build_model(make_cfg(**changes), 3)


def test_lookup_gives_the_choice():
    assert lookup({"a": 1, "b": 2}, "b", key="X") == 2
