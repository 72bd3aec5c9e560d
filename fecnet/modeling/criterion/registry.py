"""The criteria that ``LOSS.CRITERIA`` names."""

from __future__ import annotations

from collections.abc import Sequence

from fecnet.modeling.criterion.choice import ChoiceCriterion
from fecnet.modeling.criterion.cross_entropy import CrossEntropyCriterion
from fecnet.modeling.criterion.distances import build_distances
from fecnet.modeling.criterion.hellinger import HellingerCriterion
from fecnet.modeling.criterion.ran import RegionBiasCriterion
from fecnet.modeling.criterion.ranges import check_range
from fecnet.modeling.criterion.rater_choice import RaterChoiceCriterion
from fecnet.modeling.criterion.scn import ScnCriterion
from fecnet.modeling.criterion.soft_targets import SoftTargetCriterion
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.modeling.criterion.valence_arousal import ValenceArousalCriterion
from fecnet.modeling.criterion.wasserstein import WassersteinCriterion
from fecnet.modeling.parts import CriterionEntry


def _triplet(*, one_class: float, two_class: float, three_class: float) -> TripletCriterion:
    margins = {"ONE": one_class, "TWO": two_class, "THREE": three_class}
    for name, margin in margins.items():
        check_range(f"MARGIN_{name}_CLASS", margin, margin >= 0, "0 or more")
    return TripletCriterion(list(margins.values()))


def _wasserstein(*, classes: Sequence[str], kind: str = "centroid", confusion: str = "") -> WassersteinCriterion:
    return WassersteinCriterion(build_distances(kind, classes, confusion))


CRITERIA: dict[str, CriterionEntry] = {
    "triplet": CriterionEntry(
        build=_triplet,
        options={
            "one_class": "LOSS.MARGIN_ONE_CLASS",
            "two_class": "LOSS.MARGIN_TWO_CLASS",
            "three_class": "LOSS.MARGIN_THREE_CLASS",
        },
        reads=("triplets",),
        outputs={"embedding"},
        mixes=True,
    ),
    "choice": CriterionEntry(
        build=ChoiceCriterion,
        options={"scale": "LOSS.CHOICE_SCALE"},
        reads=("triplets",),
        outputs={"embedding"},
        mixes=True,
    ),
    "rater_choice": CriterionEntry(
        build=RaterChoiceCriterion,
        options={"answers": "DATA.TRAIN_SPLIT", "scale": "LOSS.CHOICE_SCALE"},
        reads=("triplets", "answers"),
        outputs={"embedding"},
        mixes=True,
    ),
    "cross_entropy": CriterionEntry(
        build=CrossEntropyCriterion,
        options={
            "label_smoothing": "LOSS.LABEL_SMOOTHING",
            "class_weights": "LOSS.CLASS_WEIGHTS",
            "hardest": "LOSS.OHEM_RATIO",
        },
        reads=("label",),
        outputs={"logits"},
        trains_classes=True,
        mixes=True,
    ),
    "soft_targets": CriterionEntry(
        build=SoftTargetCriterion, reads=("distribution",), outputs={"logits"}, trains_classes=True, mixes=True
    ),
    "hellinger": CriterionEntry(
        build=HellingerCriterion,
        options={"classes": "DATA.LABELS", "dimensions": "MODEL.EMBEDDING_DIM"},
        reads=("distribution",),
        outputs={"embedding"},
        mixes=True,
    ),
    "scn": CriterionEntry(  # reads the logits for relabelling only
        build=ScnCriterion,
        options={
            "beta": "LOSS.SCN_BETA",
            "margin_1": "LOSS.SCN_MARGIN_1",
            "margin_2": "LOSS.SCN_MARGIN_2",
            "relabel_after": "LOSS.SCN_RELABEL_AFTER",
        },
        reads=("label",),
        outputs={"logits", "importance"},
    ),
    "ran": CriterionEntry(
        build=RegionBiasCriterion, options={"margin": "LOSS.RAN_MARGIN"}, outputs={"region_importance"}
    ),
    "wasserstein": CriterionEntry(
        build=_wasserstein,
        options={"classes": "DATA.LABELS", "kind": "LOSS.WASSERSTEIN_COST", "confusion": "LOSS.WASSERSTEIN_CONFUSION"},
        reads=("label",),
        outputs={"logits"},
        trains_classes=True,
    ),
    "valence_arousal": CriterionEntry(
        build=ValenceArousalCriterion,
        options={"ccc": "LOSS.CCC"},
        reads=("valence_arousal",),
        outputs={"valence_arousal"},
    ),
}
