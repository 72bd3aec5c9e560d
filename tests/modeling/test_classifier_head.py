"""Logits from the whole map, and an embedding beside them from the same one."""

import pytest
import torch

from fecnet.config.node import load_config
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.build import build_criterion, criteria_outputs, criteria_read
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.modeling.head.classifier import AffectHead, ClassifierHead, JointHead
from fecnet.modeling.head.embedding import EmbeddingHead
from fecnet.modeling.head.registry import HEADS


def test_logits_are_those_of_the_mean_over_the_whole_map():
    torch.manual_seed(0)
    head = ClassifierHead(6, 3, dropout=0.5).eval()
    torch.nn.init.normal_(head.classifier.weight)
    map_NCHW = torch.rand(2, 6, 5, 7)
    mean_NC = map_NCHW.flatten(2).sum(2) / 35
    out = head(map_NCHW)
    torch.testing.assert_close(out["feature"], mean_NC)
    torch.testing.assert_close(out["logits"], mean_NC @ head.classifier.weight.T + head.classifier.bias)
    head.train()
    assert not torch.equal(head(map_NCHW)["logits"], out["logits"])  # dropout
    torch.testing.assert_close(head(map_NCHW)["feature"], mean_NC)  # before dropout


def test_joint_gives_what_both_heads_give():
    torch.manual_seed(0)
    embedding, classifier = EmbeddingHead(6, feature_dim=8, embedding_dim=4), ClassifierHead(6, 3)
    map_NCHW = torch.rand(2, 6, 3, 3)
    joint = JointHead(classifier, embedding).eval()
    out = joint(map_NCHW)
    assert torch.equal(out["embedding"], embedding(map_NCHW)["embedding"])
    assert torch.equal(out["logits"], classifier(map_NCHW)["logits"])


def test_affect_is_linear_in_the_mean_over_the_map():
    torch.manual_seed(0)
    head, map_NCHW = AffectHead(6).eval(), torch.rand(2, 6, 4, 3)
    expected = map_NCHW.mean((2, 3)) @ head.affect.weight.T + head.affect.bias
    torch.testing.assert_close(head(map_NCHW)["valence_arousal"], expected)


def settings(*overrides):
    return load_config(None, ["MODEL.WIDTH_MULT", "0.125", "MODEL.NECK", "none", *map(str, overrides)])


@pytest.mark.parametrize("head", HEADS)
def test_every_head_gives_what_it_announces(head):
    model = build_model(settings("MODEL.HEAD", head), 1, num_classes=5).eval()
    out = model(torch.rand(2, 1, 48, 48))
    assert out.keys() == HEADS[head].outputs | {"feature"}
    if "logits" in out:
        assert out["logits"].shape == (2, 5)


def test_neck_none_adds_no_parameter():
    model = build_model(settings("MODEL.HEAD", "classifier"), 1, num_classes=5)
    own = sum(parameter.numel() for parameter in model.parameters())
    backbone = sum(parameter.numel() for parameter in model.backbone.parameters())
    assert own - backbone == 5 * model.backbone.out_channels + 5


@pytest.mark.parametrize(
    ("backbone", "channels", "count"), [("vgg19", 3, 20_038_983), ("vgg19", 1, 20_038_983), ("deep_emotion", 1, 66_877)]
)
def test_whole_classifiers_have_the_published_number_of_parameters(backbone, channels, count):
    cfg = settings("MODEL.HEAD", "classifier", "MODEL.BACKBONE", backbone, "MODEL.WIDTH_MULT", 1.0)
    model = build_model(cfg, channels, num_classes=7)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_a_head_for_classes_needs_two():
    with pytest.raises(ValueError, match=r"MODEL\.HEAD: 'classifier' with 1 classes; DATA\.LABELS must give two"):
        build_model(settings("MODEL.HEAD", "classifier"), 1, num_classes=1)
    with pytest.raises(
        ValueError, match=r"MODEL\.HEAD: unknown name 'x'; allowed: affect, classifier, classifier_affect"
    ):
        build_model(settings("MODEL.HEAD", "x"), 1, num_classes=3)


def test_criteria_say_what_they_read():
    cfg = settings("LOSS.CRITERIA", "[triplet, cross_entropy, scn, ran]", "LOSS.WEIGHTS", "[1, 1, 1, 1]")
    assert criteria_read(cfg) == ("triplets", "label")
    assert criteria_outputs(cfg) == {"embedding", "logits", "importance", "region_importance"}
    assert isinstance(build_criterion(cfg, ("a", "b")), WeightedCriteria)
    with pytest.raises(ValueError, match=r"LOSS\.CRITERIA: .* names one twice; allowed: each once"):
        build_criterion(settings("LOSS.CRITERIA", "[triplet, triplet]", "LOSS.WEIGHTS", "[1, 1]"))
