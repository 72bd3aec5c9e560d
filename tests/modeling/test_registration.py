"""A backbone, neck, head and criterion from outside the package: one registration each, and they train."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fecnet.config.document import config_rows
from fecnet.config.node import load_config
from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.backbone.registry import BACKBONES
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import criteria_read
from fecnet.modeling.criterion.registry import CRITERIA
from fecnet.modeling.head.registry import HEADS
from fecnet.modeling.neck.base import Neck
from fecnet.modeling.neck.registry import NECKS
from fecnet.modeling.parts import BackboneEntry, CriterionEntry, HeadEntry, NeckEntry, register
from fecnet.pruning.slimming import removable_groups
from fecnet.runs import training
from fecnet.runs.inference import infer_run
from tests.classes import write_labelled
from tests.conftest import ROOT, write_tiny
from tests.nets import SHORT, train_on

REGISTRIES = {"MODEL.BACKBONE": BACKBONES, "MODEL.NECK": NECKS, "MODEL.HEAD": HEADS, "LOSS.CRITERIA": CRITERIA}


@pytest.fixture
def registries():
    """The registrations may be added to; afterwards they are as before."""
    before = [(parts, dict(parts)) for parts in REGISTRIES.values()]
    yield
    for parts, kept in before:
        parts.clear()
        parts.update(kept)


class Patches(Backbone):
    """One strided convolution and a batch norm."""

    def __init__(self, *, in_channels, num_blocks):
        super().__init__()
        self.out_channels = 8 * len(num_blocks)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, self.out_channels, 8, stride=8), nn.BatchNorm2d(self.out_channels), nn.ReLU()
        )

    def forward(self, image_NCHW):
        return self.layers(image_NCHW)


class Doubled(Neck):
    """The map beside itself."""

    def __init__(self, *, in_channels):
        super().__init__()
        self.out_channels = 2 * in_channels

    def forward(self, map_NCHW):
        return torch.cat([map_NCHW, map_NCHW], dim=1)


class MaxHead(nn.Module):
    """Largest value of each channel, and a linear layer to embedding or logits."""

    def __init__(self, output, size, *, in_channels, num_classes=0):
        super().__init__()
        self.output = output
        self.linear = nn.Linear(in_channels, num_classes or size)

    def forward(self, map_NCHW):
        feature_NC = map_NCHW.amax(dim=(2, 3))
        found = self.linear(feature_NC)
        return {self.output: F.normalize(found) if self.output == "embedding" else found, "feature": feature_NC}


class OddFarthest(nn.Module):
    """Softplus of how much farther the alike pair is than the odd face, without a margin."""

    def __init__(self, *, scale):
        super().__init__()
        self.scale = scale

    def count(self, batch):
        return {"odd_farthest": batch.triplets.weight_B.sum()}

    def forward(self, out, batch):
        face_B3D = out["embedding"].float().index_select(0, batch.triplets.face_B3.flatten()).unflatten(0, (-1, 3))
        opposite_B3 = (face_B3D.roll(-1, 1) - face_B3D.roll(-2, 1)).square().sum(-1)
        alike_B = opposite_B3.gather(1, batch.triplets.odd_B[:, None])[:, 0]
        loss_B = F.softplus(self.scale * (2 * alike_B - (opposite_B3.sum(1) - alike_B)))
        return {"odd_farthest": (loss_B * batch.triplets.weight_B).sum()}


class Squared(nn.Module):
    """Squared error of the probabilities."""

    def count(self, batch):
        return {"squared": (batch.targets["label"] >= 0).float().sum()}

    def forward(self, out, batch):
        label_N = batch.targets["label"]
        error_NK = out["logits"].float().softmax(1) - F.one_hot(label_N.clamp(min=0), out["logits"].shape[1])
        return {"squared": (error_NK.square().sum(1) * (label_N >= 0)).sum()}


def add_net():
    register(BACKBONES, "patches", BackboneEntry(build=Patches, options={"num_blocks": "MODEL.BLOCKS"}))
    register(NECKS, "doubled", NeckEntry(build=Doubled))


PLAIN = ("MODEL.BACKBONE", "patches", "MODEL.NECK", "doubled", "MODEL.NECK_CHANNELS", 512, "MODEL.WIDTH_MULT", 1.0)


def test_one_of_each_from_outside_trains_and_is_measured(tmp_path, registries, capsys):
    add_net()
    embedding = HeadEntry(build=lambda in_channels, dim: MaxHead("embedding", dim, in_channels=in_channels),
                          options={"dim": "MODEL.EMBEDDING_DIM"}, outputs={"embedding"})  # fmt: skip
    register(HEADS, "max", embedding)
    odd = CriterionEntry(build=OddFarthest, options={"scale": "LOSS.MARGIN_TWO_CLASS"}, reads=("triplets",),
                         outputs={"embedding"})  # fmt: skip
    register(CRITERIA, "odd_farthest", odd)
    chosen = ("MODEL.HEAD", "max", "MODEL.FEATURE_DIM", 512, "MODEL.EMBEDDING_DIM", 5, "MODEL.BLOCKS", [1, 1, 1])
    criterion = ("LOSS.CRITERIA", "[odd_farthest]", "LOSS.MARGIN_TWO_CLASS", 3.0)
    run = train_on(write_tiny(tmp_path / "faces"), tmp_path, *PLAIN, *chosen, *criterion)
    infer_run(str(run))
    assert re.search(r"^fecnet( +\d+\.\d){4}( +[\d.-]+){3}$", capsys.readouterr().out, re.MULTILINE)  # the table


def test_a_classifier_from_outside_trains_and_is_measured(tmp_path, registries, capsys):
    add_net()
    register(HEADS, "max_classes", HeadEntry(build=lambda **sizes: MaxHead("logits", 0, **sizes), outputs={"logits"}))
    squared = CriterionEntry(build=Squared, reads=("label",), outputs={"logits"}, trains_classes=True)
    register(CRITERIA, "squared", squared)
    chosen = (
        "MODEL.HEAD",
        "max_classes",
        "MODEL.FEATURE_DIM",
        512,
        "LOSS.CRITERIA",
        "[squared]",
        "DATA.LABELS",
        "mood",
    )
    run = train_on(write_labelled(tmp_path / "moods"), tmp_path, *PLAIN, *chosen)
    assert 0 <= infer_run(str(run))["classes"]["splits"]["test"]["accuracy"] <= 100
    assert "accuracy" in capsys.readouterr().out


def test_a_part_that_does_not_describe_its_channels_is_not_pruned(registries):
    """Of a prunable backbone: what reads its map is not known."""
    add_net()
    small = ["MODEL.WIDTH_MULT", "0.125", "MODEL.NECK"]
    assert build_model(load_config(None, [*small, "none"]), 1).channel_groups()
    net = build_model(load_config(None, [*small, "doubled"]), 1)
    with pytest.raises(ValueError, match=r"'resnet18' cannot be pruned: its channels are not described"):
        removable_groups(net, "resnet18")


def test_names_from_outside_stand_in_messages(registries):
    add_net()
    with pytest.raises(ValueError, match=r"'x'; allowed: .*inception_resnet_v1, .*patches, resnet18"):
        build_model(load_config(None, ["MODEL.BACKBONE", "x"]), 1)
    with pytest.raises(
        ValueError, match=r"MODEL\.BLOCKS: \[1\] is not used by .* vgg19; .* option of resnet18, patches;"
    ):
        build_model(load_config(None, ["MODEL.BACKBONE", "vgg19", "MODEL.BLOCKS", "[1]"]), 1)


def test_a_taken_name_is_refused():
    with pytest.raises(
        ValueError, match=r"^BackboneEntry 'vgg16': the name is taken; allowed: any but resnet18, vgg16"
    ):
        register(BACKBONES, "vgg16", BackboneEntry(build=Patches))
    assert BACKBONES["vgg16"].build is not Patches


UNUSED = {
    "MODEL.BLOCKS": ("[1, 1]", "MODEL.BACKBONE vgg19", "resnet18", "[2, 2, 2, 2]"),
    "MODEL.WIDTH_MULT": ("0.5", "MODEL.BACKBONE vgg19", "resnet18", "1.0"),
    "MODEL.STEM": ("cifar", "MODEL.BACKBONE vgg19", "resnet18", "'imagenet'"),
    "MODEL.BATCH_NORM": ("false", "MODEL.BACKBONE vgg19", "inception_nn2", "True"),
    "MODEL.BACKBONE_DROPOUT": ("0.1", "MODEL.BACKBONE vgg19", "deep_emotion", "0.5"),
    "MODEL.IRESNET_FC": ("false", "MODEL.BACKBONE vgg19", "iresnet18, iresnet50", "True"),
    "MODEL.NECK_CHANNELS": ("16", "MODEL.NECK none", "dense_block, conv3x3, conv1x1", "512"),
    "MODEL.FEATURE_DIM": ("16", "MODEL.HEAD classifier", "embedding, joint", "512"),
    "MODEL.EMBEDDING_DIM": ("8", "MODEL.HEAD classifier", "embedding, joint, deviation", "16"),
    "MODEL.PROJECTION_ORDER": ("2", "MODEL.HEAD classifier", "deviation", "1"),
    "LOSS.LABEL_SMOOTHING": ("0.1", "LOSS.CRITERIA soft_targets", "cross_entropy", "0.0"),
    "LOSS.OHEM_RATIO": ("0.5", "LOSS.CRITERIA soft_targets", "cross_entropy", "1.0"),
    "LOSS.CLASS_WEIGHTS": ("sqrt", "LOSS.CRITERIA soft_targets", "cross_entropy", "'none'"),
    "LOSS.SCN_BETA": ("0.5", "LOSS.CRITERIA soft_targets", "scn", "0.7"),
    "LOSS.SCN_MARGIN_1": ("0.5", "LOSS.CRITERIA soft_targets", "scn", "0.07"),
    "LOSS.SCN_MARGIN_2": ("0.5", "LOSS.CRITERIA soft_targets", "scn", "0.2"),
    "LOSS.SCN_RELABEL_AFTER": ("5", "LOSS.CRITERIA soft_targets", "scn", "0.0"),
    "LOSS.RAN_MARGIN": ("0.1", "LOSS.CRITERIA soft_targets", "ran", "0.02"),
    "LOSS.WASSERSTEIN_COST": ("learned", "LOSS.CRITERIA soft_targets", "wasserstein", "'centroid'"),
    "LOSS.WASSERSTEIN_CONFUSION": ("a.csv", "LOSS.CRITERIA soft_targets", "wasserstein", "''"),
    "LOSS.CCC": ("true", "LOSS.CRITERIA soft_targets", "valence_arousal", "False"),
    "LOSS.CHOICE_SCALE": ("5", "LOSS.CRITERIA soft_targets", "choice, rater_choice", "0.0"),
    "LOSS.MARGIN_ONE_CLASS": ("0.5", "LOSS.CRITERIA soft_targets", "triplet", "0.1"),
    "LOSS.MARGIN_TWO_CLASS": ("0.5", "LOSS.CRITERIA soft_targets", "triplet", "0.2"),
    "LOSS.MARGIN_THREE_CLASS": ("0.5", "LOSS.CRITERIA soft_targets", "triplet", "0.2"),
}
VGG19 = ["MODEL.BACKBONE", "vgg19", "MODEL.NECK", "none", "MODEL.HEAD", "classifier", "LOSS.CRITERIA", "[soft_targets]"]


@pytest.mark.parametrize("key", UNUSED)
def test_a_key_that_nothing_chosen_uses_is_refused(key):
    value, chosen, users, default = UNUSED[key]
    cfg = load_config(None, [*VGG19, key, value])
    check = (lambda: build_model(cfg, 1, 7)) if key.startswith("MODEL.") else (lambda: criteria_read(cfg))
    with pytest.raises(ValueError, match=rf"^{re.escape(key)}: .* is not used by {chosen}; ") as raised:
        check()
    assert str(raised.value).endswith(f"; it is an option of {users}; allowed here: {default}")


def test_every_option_of_a_part_is_covered_above():
    options = {key for parts in REGISTRIES.values() for part in parts.values() for key in part.keys}
    assert {key for key in options if not key.startswith("DATA.")} - UNUSED.keys() == {
        "MODEL.DROPOUT",  # all heads use it
        "MODEL.LAYER_CHANNELS",  # tests/pruning/test_slimming.py
    }


def test_all_unused_keys_are_told_at_once():
    cfg = load_config(None, [*VGG19, "MODEL.BLOCKS", "[1]", "MODEL.NECK_CHANNELS", "16"])
    with pytest.raises(ValueError, match=r"^MODEL\.BLOCKS: .*\nMODEL\.NECK_CHANNELS: [^\n]*$"):
        build_model(cfg, 1, 7)


@pytest.mark.parametrize("key", REGISTRIES)
def test_the_documented_names_are_the_registered_ones(key):
    [text] = [text for row, _, text in config_rows() if row == key]
    text = re.sub(r"([a-z]+)(\d+)/(\d+)", r"\1\2, \1\3", text)  # vgg16/19
    names = re.split(r", | or ", re.sub(r" \([^)]*\)", "", text))
    assert sorted(names) == sorted(REGISTRIES[key])


def test_the_documented_backbone_is_whole_and_trains(tmp_path, registries, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 20
    short = ["DATA.PATH", str(write_tiny(tmp_path / "faces")), "DATA.SOURCE", "", "OUTPUT_DIR", str(tmp_path), *SHORT]
    train = training.train_run

    def train_shortly(cfg, *, recipe):
        small = ["DATA.INPUT_SIZE", "48", "SOLVER.PRECISION", "fp32", "DEVICE", "cpu", "LOG.TENSORBOARD", "false"]
        assert train(load_config(None, [*short, *small], base=cfg), recipe=recipe) == 0

    monkeypatch.setattr(training, "train_run", train_shortly)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "patches"})
    assert (tmp_path / "patches" / "checkpoints" / "last").read_text().split() == ["2"]
