"""From settings to nets. ``cfg`` stops here: constructors take plain keywords."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from easydict import EasyDict
from torch import nn

from fecnet.modeling.backbone.base import Backbone
from fecnet.modeling.backbone.deep_emotion import DeepEmotion
from fecnet.modeling.backbone.inception_nn2 import InceptionNN2
from fecnet.modeling.backbone.inception_resnet import InceptionResnetV1
from fecnet.modeling.backbone.iresnet import IRESNET18_BLOCKS, IRESNET50_BLOCKS, IResNet
from fecnet.modeling.backbone.resnet import ResNet18, resnet_widths
from fecnet.modeling.backbone.vgg import VGG, VGG16_STAGES, VGG19_STAGES, vgg_widths
from fecnet.modeling.head.classifier import AffectHead, ClassifierHead, JointHead
from fecnet.modeling.head.embedding import EmbeddingHead
from fecnet.modeling.head.ran import RanHead
from fecnet.modeling.head.scn import ScnHead
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.neck.necks import Conv1x1Neck, Conv3x3Neck, DenseBlockNeck, NoNeck
from fecnet.modeling.region_net import RegionNet
from fecnet.utils.errors import ConfigError
from fecnet.utils.lookup import lookup

_STEMS = {"imagenet": False, "cifar": True}  # whether it is the CIFAR stem


def _resnet18(cfg: EasyDict, in_channels: int, widths: Sequence[int]) -> Backbone:
    cifar_stem = lookup(_STEMS, cfg.MODEL.STEM, key="MODEL.STEM")
    return ResNet18(in_channels=in_channels, blocks=cfg.MODEL.BLOCKS, cifar_stem=cifar_stem, widths=widths)


def _vgg(stages: Sequence[int], cfg: EasyDict, in_channels: int, widths: Sequence[int]) -> Backbone:
    return VGG(stages, in_channels=in_channels, widths=widths)


def _iresnet(blocks: Sequence[int], cfg: EasyDict, in_channels: int) -> Backbone:
    input_size = cfg.DATA.INPUT_SIZE if cfg.MODEL.IRESNET_FC else None
    return IResNet(blocks, in_channels=in_channels, input_size=input_size)


# each takes the settings and the number of input channels
_BACKBONES: dict[str, Callable[[EasyDict, int], Backbone]] = {
    "iresnet18": partial(_iresnet, IRESNET18_BLOCKS),
    "iresnet50": partial(_iresnet, IRESNET50_BLOCKS),
    "deep_emotion": lambda cfg, in_channels: DeepEmotion(in_channels=in_channels, dropout=cfg.MODEL.BACKBONE_DROPOUT),
    "inception_nn2": lambda cfg, in_channels: InceptionNN2(in_channels=in_channels, batch_norm=cfg.MODEL.BATCH_NORM),
    "inception_resnet_v1": lambda cfg, in_channels: InceptionResnetV1(in_channels=in_channels),
}
# those that MODEL.LAYER_CHANNELS describes: each takes the widths too
_WIDTHS_BACKBONES: dict[str, Callable[[EasyDict, int, Sequence[int]], Backbone]] = {
    "resnet18": _resnet18,
    "vgg16": partial(_vgg, VGG16_STAGES),
    "vgg19": partial(_vgg, VGG19_STAGES),
}
# and the widths they have where MODEL.LAYER_CHANNELS is empty
_OWN_WIDTHS: dict[str, Callable[[EasyDict], list[int]]] = {
    "resnet18": lambda model: resnet_widths(model.WIDTH_MULT, model.BLOCKS),
    "vgg16": lambda model: vgg_widths(VGG16_STAGES),
    "vgg19": lambda model: vgg_widths(VGG19_STAGES),
}

# each takes the backbone's channels, those of the 1×1 convolution, and the widths
_NECKS: dict[str, type[DenseBlockNeck | Conv3x3Neck | Conv1x1Neck | NoNeck]] = {
    "dense_block": DenseBlockNeck,
    "conv3x3": Conv3x3Neck,
    "conv1x1": Conv1x1Neck,
    "none": NoNeck,
}


def _embedding_head(model: EasyDict, in_channels: int) -> EmbeddingHead:
    return EmbeddingHead(
        in_channels, feature_dim=model.FEATURE_DIM, embedding_dim=model.EMBEDDING_DIM, dropout=model.DROPOUT
    )


def _joint_head(model: EasyDict, in_channels: int, num_classes: int) -> JointHead:
    classifier = ClassifierHead(in_channels, num_classes, dropout=model.DROPOUT)
    return JointHead(classifier, _embedding_head(model, in_channels))


def _classifier_affect_head(model: EasyDict, in_channels: int, num_classes: int) -> JointHead:
    classifier = ClassifierHead(in_channels, num_classes, dropout=model.DROPOUT)
    return JointHead(classifier, AffectHead(in_channels, dropout=model.DROPOUT))


# each takes the MODEL settings, the neck's channels and the number of classes
_HEADS: dict[str, Callable[[EasyDict, int, int], nn.Module]] = {
    "embedding": lambda model, channels, classes: _embedding_head(model, channels),
    "classifier": lambda model, channels, classes: ClassifierHead(channels, classes, dropout=model.DROPOUT),
    "joint": _joint_head,
    "affect": lambda model, channels, classes: AffectHead(channels, dropout=model.DROPOUT),
    "classifier_affect": _classifier_affect_head,
    "scn": lambda model, channels, classes: ScnHead(channels, classes, dropout=model.DROPOUT),
    "ran": lambda model, channels, classes: RanHead(channels, classes, dropout=model.DROPOUT),
    "scn_ran": lambda model, channels, classes: RanHead(channels, classes, dropout=model.DROPOUT, scn=True),
}
HEAD_OUTPUTS: dict[str, set[str]] = {  # what a criterion may read, besides the feature
    "embedding": {"embedding"},
    "classifier": {"logits"},
    "joint": {"embedding", "logits"},
    "affect": {"valence_arousal"},
    "classifier_affect": {"logits", "valence_arousal"},
    "scn": {"logits", "importance"},
    "ran": {"logits", "region_importance"},
    "scn_ran": {"logits", "importance", "region_importance"},
}
_SEES_REGIONS = ("ran", "scn_ran")


def build_model(cfg: EasyDict, in_channels: int, num_classes: int = 0) -> ExpressionNet:
    """The net that ``cfg.MODEL`` describes, untrained, in training mode, on the CPU.

    Args:
        cfg: the whole settings; ``MODEL`` is read, and ``DATA.INPUT_SIZE`` by a backbone that is made for one size.
        in_channels: channels of the data: 1 grey, 2 grey and mask, 3 colour, 4 colour and mask.
        num_classes: of the labels; 0 for an embedding alone.

    Raises:
        UserError: an unknown name, a value out of range, or a head for classes without two of them.
    """
    model = cfg.MODEL
    _check(model)
    widths, of_neck = _widths(model)
    if widths:
        backbone = _WIDTHS_BACKBONES[model.BACKBONE](cfg, in_channels, widths)
    else:
        backbone = _BACKBONES[model.BACKBONE](cfg, in_channels)
    neck = _NECKS[model.NECK](backbone.out_channels, model.NECK_CHANNELS, of_neck)
    if "logits" in lookup(HEAD_OUTPUTS, model.HEAD, key="MODEL.HEAD") and num_classes < 2:
        raise ConfigError(f"MODEL.HEAD: '{model.HEAD}' with {num_classes} classes; DATA.LABELS must give two or more")
    head = _HEADS[model.HEAD](model, neck.out_channels, num_classes)
    std = per_channel(model.STD, in_channels, mask=1.0, key="MODEL.STD")
    if min(std) <= 0:
        raise ConfigError(f"MODEL.STD: {list(model.STD)}; every value must be above 0")
    mean = per_channel(model.MEAN, in_channels, mask=0.0, key="MODEL.MEAN")
    net = RegionNet if model.HEAD in _SEES_REGIONS else ExpressionNet
    return net(backbone, neck, head, mean=mean, std=std, freeze_backbone=model.FREEZE_BACKBONE)


def own_widths(model: EasyDict) -> tuple[list[int], list[int]]:
    """The widths of backbone and neck where ``MODEL.LAYER_CHANNELS`` is empty; none for a backbone that has no widths.

    Raises:
        UserError: an unknown backbone or neck.
    """
    lookup({**_WIDTHS_BACKBONES, **_BACKBONES}, model.BACKBONE, key="MODEL.BACKBONE")
    of_neck = lookup(_NECKS, model.NECK, key="MODEL.NECK").own_widths(model.NECK_CHANNELS)
    return _OWN_WIDTHS.get(model.BACKBONE, lambda model: [])(model), of_neck


def _widths(model: EasyDict) -> tuple[list[int], list[int]]:
    """The widths of backbone and neck."""
    of_backbone, of_neck = own_widths(model)
    given = list(model.LAYER_CHANNELS)
    if not given:
        return of_backbone, of_neck
    if not of_backbone:
        allowed = ", ".join(sorted(_OWN_WIDTHS))
        raise ConfigError(f"MODEL.LAYER_CHANNELS: {given} with {model.BACKBONE}; allowed: empty, or one of {allowed}")
    own = of_backbone + of_neck
    if len(given) != len(own):
        raise ConfigError(
            f"MODEL.LAYER_CHANNELS: {len(given)} numbers, {given}; allowed for {model.BACKBONE} with neck "
            f"'{model.NECK}': empty, or {len(own)} numbers such as its own, {own}"
        )
    return given[: len(of_backbone)], given[len(of_backbone) :]


def _check(model: EasyDict) -> None:
    if model.WIDTH_MULT <= 0:
        raise ConfigError(f"MODEL.WIDTH_MULT: {model.WIDTH_MULT}; must be above 0")
    if not 1 <= len(model.BLOCKS) <= 4 or min(model.BLOCKS) < 1:
        raise ConfigError(f"MODEL.BLOCKS: {list(model.BLOCKS)}; one to four stages of at least one block")
    if model.WIDTH_MULT != 1.0 and model.BACKBONE != "resnet18":
        raise ConfigError(
            f"MODEL.WIDTH_MULT: {model.WIDTH_MULT} with {model.BACKBONE}; only resnet18 takes another width than 1.0"
        )
    if model.STEM != "imagenet" and model.BACKBONE != "resnet18":
        raise ConfigError(
            f"MODEL.STEM: {model.STEM!r} with {model.BACKBONE}; only resnet18 takes another than 'imagenet'"
        )
    if not 0 <= model.BACKBONE_DROPOUT < 1:
        raise ConfigError(f"MODEL.BACKBONE_DROPOUT: {model.BACKBONE_DROPOUT}; must be at least 0 and below 1")
    for key in ("NECK_CHANNELS", "FEATURE_DIM", "EMBEDDING_DIM"):
        if model[key] < 1:
            raise ConfigError(f"MODEL.{key}: {model[key]}; must be at least 1")
    if not 0 <= model.DROPOUT < 1:
        raise ConfigError(f"MODEL.DROPOUT: {model.DROPOUT}; must be at least 0 and below 1")


def per_channel(values: Sequence[float], channels: int, *, mask: float, key: str) -> list[float]:
    """A setting of one value per channel, spelled out.

    The statistics of colours say nothing about a mask, which is a picture of 0..1 already. So where ``values`` has one
    value, or one per colour, the mask has ``mask``; only a value of its own changes it.

    Args:
        values: one value, one per colour channel, or one per channel.
        channels: of the data; 2 is grey and mask, 4 is colour and mask.
        mask: for a mask that has no value of its own.
        key: the setting, for the error.

    Raises:
        UserError: another number of values.
    """
    colours = channels - 1 if channels in (2, 4) else channels
    allowed = sorted({1, colours, channels})
    if len(values) not in allowed:
        numbers = " or ".join(map(str, allowed))
        note = " (the last channel is a mask)" if colours < channels else ""
        raise ConfigError(f"{key}: {len(values)} values for {channels} channels{note}; give {numbers}")
    if len(values) == channels:
        return [float(value) for value in values]
    colour = [float(value) for value in values] * (colours // len(values))
    return colour + [mask] * (channels - colours)
