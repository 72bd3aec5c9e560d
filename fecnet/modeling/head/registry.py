"""The heads that ``MODEL.HEAD`` names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fecnet.modeling.deviation_net import DeviationNet
from fecnet.modeling.head.classifier import AffectHead, ClassifierHead, JointHead
from fecnet.modeling.head.deviation import DeviationHead
from fecnet.modeling.head.embedding import EmbeddingHead
from fecnet.modeling.head.ran import RanHead
from fecnet.modeling.head.scn import ScnHead
from fecnet.modeling.parts import HeadEntry
from fecnet.modeling.region_net import RegionNet

_DROPOUT = {"dropout": "MODEL.DROPOUT"}
_EMBEDDING = {**_DROPOUT, "feature_dim": "MODEL.FEATURE_DIM", "embedding_dim": "MODEL.EMBEDDING_DIM"}
_DEVIATION = {**_DROPOUT, "embedding_dim": "MODEL.EMBEDDING_DIM", "order": "MODEL.PROJECTION_ORDER"}


def _joint(
    *,
    in_channels: int,
    num_classes: int,
    feature_dim: int,
    embedding_dim: int,
    dropout: float,
    extra_classes: Mapping[str, int] | None = None,
) -> JointHead:
    classifier = ClassifierHead(in_channels, num_classes, dropout=dropout, extra_classes=extra_classes)
    embedding = EmbeddingHead(in_channels, feature_dim=feature_dim, embedding_dim=embedding_dim, dropout=dropout)
    return JointHead(classifier, embedding)


def _classifier_affect(
    *, in_channels: int, num_classes: int, dropout: float, extra_classes: Mapping[str, int] | None = None
) -> JointHead:
    classifier = ClassifierHead(in_channels, num_classes, dropout=dropout, extra_classes=extra_classes)
    return JointHead(classifier, AffectHead(in_channels, dropout=dropout))


HEADS: dict[str, HeadEntry] = {
    "embedding": HeadEntry(build=EmbeddingHead, options=_EMBEDDING, outputs={"embedding"}),
    "classifier": HeadEntry(build=ClassifierHead, options=_DROPOUT, outputs={"logits"}, takes_extra=True),
    "joint": HeadEntry(build=_joint, options=_EMBEDDING, outputs={"embedding", "logits"}, takes_extra=True),
    "affect": HeadEntry(build=AffectHead, options=_DROPOUT, outputs={"valence_arousal"}),
    "classifier_affect": HeadEntry(
        build=_classifier_affect, options=_DROPOUT, outputs={"logits", "valence_arousal"}, takes_extra=True
    ),
    "scn": HeadEntry(build=ScnHead, options=_DROPOUT, outputs={"logits", "importance"}),
    "ran": HeadEntry(build=RanHead, options=_DROPOUT, outputs={"logits", "region_importance"}, net=RegionNet),
    "scn_ran": HeadEntry(
        build=partial(RanHead, scn=True),
        options=_DROPOUT,
        outputs={"logits", "importance", "region_importance"},
        net=RegionNet,
    ),
    "deviation": HeadEntry(build=DeviationHead, options=_DEVIATION, outputs={"embedding"}, net=DeviationNet),
}
