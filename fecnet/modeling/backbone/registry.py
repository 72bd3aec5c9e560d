"""The backbones that ``MODEL.BACKBONE`` names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fecnet.modeling.backbone.deep_emotion import DeepEmotion
from fecnet.modeling.backbone.dlib_resnet import DlibResNet
from fecnet.modeling.backbone.inception_nn2 import InceptionNN2
from fecnet.modeling.backbone.inception_resnet import InceptionResnetV1
from fecnet.modeling.backbone.iresnet import IRESNET18_BLOCKS, IRESNET50_BLOCKS, IResNet
from fecnet.modeling.backbone.resnet import ResNet18, resnet_widths
from fecnet.modeling.backbone.timm_net import PREFIX, TimmNet
from fecnet.modeling.backbone.variants import iresnet_variants, resnet_variants, where
from fecnet.modeling.backbone.vgg import VGG, VGG16_STAGES, VGG19_STAGES, vgg_widths
from fecnet.modeling.parts import BackboneEntry
from fecnet.utils.errors import ConfigError, UserError
from fecnet.utils.lookup import lookup
from fecnet.utils.shown import shown

_VGG_CONV = r"(^|\.)0\.bias$"  # the first


def _resnet18(
    *, in_channels: int, width: float, blocks: Sequence[int], stem: str, widths: Sequence[int] | None = None
) -> ResNet18:
    cifar_stem = lookup({"imagenet": False, "cifar": True}, stem, key="MODEL.STEM")
    return ResNet18(in_channels=in_channels, width=width, blocks=blocks, cifar_stem=cifar_stem, widths=widths)


def _resnet18_default_widths(*, width: float, blocks: Sequence[int], stem: str) -> list[int]:
    if width <= 0:
        raise UserError(f"MODEL.WIDTH_MULT: {width}; must be above 0")
    if not 1 <= len(blocks) <= 4 or min(blocks) < 1:
        raise UserError(f"MODEL.BLOCKS: {list(blocks)}; one to four stages of at least one block")
    return resnet_widths(width, blocks)


def _vgg(stages: Sequence[int]) -> BackboneEntry:
    return BackboneEntry(
        build=partial(VGG, stages), default_widths=partial(vgg_widths, stages), variants=where(_VGG_CONV)
    )


def _iresnet(blocks: Sequence[int]) -> BackboneEntry:
    def build(*, in_channels: int, with_fc: bool, input_size: int) -> IResNet:
        return IResNet(blocks, in_channels=in_channels, input_size=input_size if with_fc else None)

    options = {"with_fc": "MODEL.IRESNET_FC", "input_size": "DATA.INPUT_SIZE"}
    return BackboneEntry(build=build, options=options, variants=iresnet_variants)


def _deep_emotion(*, in_channels: int, dropout: float) -> DeepEmotion:
    if not 0 <= dropout < 1:
        raise UserError(f"MODEL.BACKBONE_DROPOUT: {dropout}; must be at least 0 and below 1")
    return DeepEmotion(in_channels=in_channels, dropout=dropout)


BACKBONES: dict[str, BackboneEntry] = {
    "resnet18": BackboneEntry(
        build=_resnet18,
        options={"width": "MODEL.WIDTH_MULT", "blocks": "MODEL.BLOCKS", "stem": "MODEL.STEM"},
        default_widths=_resnet18_default_widths,
        variants=resnet_variants,
    ),
    "vgg16": _vgg(VGG16_STAGES),
    "vgg19": _vgg(VGG19_STAGES),
    "iresnet18": _iresnet(IRESNET18_BLOCKS),
    "iresnet50": _iresnet(IRESNET50_BLOCKS),
    "deep_emotion": BackboneEntry(
        build=_deep_emotion, options={"dropout": "MODEL.BACKBONE_DROPOUT"}, variants=where(r"\bfc_loc\.0\.weight$")
    ),
    "dlib_resnet": BackboneEntry(
        build=DlibResNet, options={"input_size": "DATA.INPUT_SIZE"}, variants=where(r"^blocks\.12\.norm2\.weight$")
    ),
    "inception_nn2": BackboneEntry(
        build=InceptionNN2,
        options={"batch_norm": "MODEL.BATCH_NORM"},
        variants=where(r"\.branches\.five\.", {"batch_norm": True}, {"batch_norm": False}),
    ),
    "inception_resnet_v1": BackboneEntry(build=InceptionResnetV1, variants=where(r"\.branch2\.0\.conv\.weight$")),
}


def find_backbone(name: str) -> BackboneEntry:
    """The backbone that ``MODEL.BACKBONE`` names: one of ``BACKBONES``, or a net of timm.

    Raises:
        ConfigError: no such name. Whether timm has the net is checked only when it is built.
    """
    if name.startswith(PREFIX):
        build = partial(TimmNet, name.removeprefix(PREFIX))
        return BackboneEntry(build=build, options={"input_size": "DATA.INPUT_SIZE"})
    if name not in BACKBONES:
        allowed = ", ".join(sorted(BACKBONES))
        raise ConfigError(
            f"MODEL.BACKBONE: unknown name {shown(name)}; allowed: {allowed}, or {PREFIX}NAME of a net of timm"
        )
    return BACKBONES[name]
