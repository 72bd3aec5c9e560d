"""Criteria from settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from fecnet.modeling.criterion.classes import build_class_criterion
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.utils.errors import ConfigError
from fecnet.utils.lookup import lookup

# what each criterion reads of a batch; a loss that reads nothing of it can only stand beside another
_READS: dict[str, tuple[str, ...]] = {
    "triplet": ("triplets",),
    "cross_entropy": ("label",),
    "soft_targets": ("distribution",),
    "scn": ("label",),
    "ran": (),
    "wasserstein": ("label",),
    "valence_arousal": ("valence_arousal",),
}
# and of a net's outputs
_OUTPUTS: dict[str, tuple[str, ...]] = {
    "triplet": ("embedding",),
    "cross_entropy": ("logits",),
    "soft_targets": ("logits",),
    "scn": ("logits", "importance"),
    "ran": ("region_importance",),
    "wasserstein": ("logits",),
    "valence_arousal": ("valence_arousal",),
}

# of those above, what teaches a net its classes: scn reads the logits, and only ranks importances
_TEACH_CLASSES = ("cross_entropy", "soft_targets", "wasserstein")
# settings of one criterion that are off by default, with the value that is off
_OFF: dict[str, tuple[str, Any]] = {
    "CLASS_WEIGHTS": ("cross_entropy", "none"),
    "LABEL_SMOOTHING": ("cross_entropy", 0.0),
    "OHEM_RATIO": ("cross_entropy", 1.0),
    "SCN_RELABEL_AFTER": ("scn", 0.0),
    "WASSERSTEIN_CONFUSION": ("wasserstein", ""),
    "CCC": ("valence_arousal", False),
}


def criteria_read(cfg: Any) -> tuple[str, ...]:
    """What the criteria read of a batch: ``triplets`` and names of targets, each once.

    Raises:
        ConfigError: an unknown criterion, none that reads what people said, scn alone, or a setting that none reads.
    """
    every = [name for criterion in cfg.LOSS.CRITERIA for name in lookup(_READS, criterion, key="LOSS.CRITERIA")]
    if not every:
        raise ConfigError(
            f"LOSS.CRITERIA: {list(cfg.LOSS.CRITERIA)} reads neither triplets nor labels; add one that does"
        )
    if "scn" in cfg.LOSS.CRITERIA and not set(_TEACH_CLASSES) & set(cfg.LOSS.CRITERIA):
        raise ConfigError(
            f"LOSS.CRITERIA: {list(cfg.LOSS.CRITERIA)} teaches no classes; scn needs one beside it: "
            f"{', '.join(_TEACH_CLASSES)}"
        )
    for key, (reader, off) in _OFF.items():
        if cfg.LOSS[key] != off and reader not in cfg.LOSS.CRITERIA:
            raise ConfigError(
                f"LOSS.{key}: {cfg.LOSS[key]!r} is read by {reader} alone, which LOSS.CRITERIA "
                f"{list(cfg.LOSS.CRITERIA)} lacks; allowed here: {off!r}"
            )
    return tuple(dict.fromkeys(every))


def criteria_outputs(cfg: Any) -> set[str]:
    """The outputs of the net that the criteria read."""
    return {name for criterion in cfg.LOSS.CRITERIA for name in lookup(_OUTPUTS, criterion, key="LOSS.CRITERIA")}


def build_criterion(
    cfg: Any,
    classes: Sequence[str] = (),
    *,
    class_weights: Sequence[float] | None = None,
    relabel_after: int | None = None,
) -> nn.Module:
    """The criteria of ``cfg.LOSS``, added up where there are several.

    Args:
        cfg: the whole settings; only ``LOSS`` is read.
        classes: names in label order; empty where no criterion reads labels.
        class_weights: weight of each class, or None for 1.
        relabel_after: iterations before SCN's search for wrong labels begins; None = never.

    Raises:
        ConfigError: an unknown name, weights that do not fit the names, or a setting out of its range.
    """
    names, weights = list(cfg.LOSS.CRITERIA), list(cfg.LOSS.WEIGHTS)
    if len(names) != len(weights):
        raise ConfigError(f"LOSS.WEIGHTS: {len(weights)} numbers for {len(names)} of LOSS.CRITERIA; give one each")
    if len(set(names)) < len(names):
        raise ConfigError(f"LOSS.CRITERIA: {names} names one twice; allowed: each once")

    def build(name: str) -> nn.Module:
        if name == "triplet":
            return _triplet(cfg)
        return build_class_criterion(
            name,
            classes,
            label_smoothing=cfg.LOSS.LABEL_SMOOTHING,
            class_weights=class_weights,
            hardest=cfg.LOSS.OHEM_RATIO,
            scn_beta=cfg.LOSS.SCN_BETA,
            scn_margin_1=cfg.LOSS.SCN_MARGIN_1,
            scn_margin_2=cfg.LOSS.SCN_MARGIN_2,
            relabel_after=relabel_after,
            ran_margin=cfg.LOSS.RAN_MARGIN,
            wasserstein=cfg.LOSS.WASSERSTEIN_COST,
            confusion=cfg.LOSS.WASSERSTEIN_CONFUSION,
            ccc=cfg.LOSS.CCC,
        )

    if len(names) == 1 and weights[0] == 1:
        return build(names[0])
    return WeightedCriteria([(build(name), weight) for name, weight in zip(names, weights, strict=True)])


def _triplet(cfg: Any) -> TripletCriterion:
    keys = ("MARGIN_ONE_CLASS", "MARGIN_TWO_CLASS", "MARGIN_THREE_CLASS")
    for key in keys:
        if cfg.LOSS[key] < 0:
            raise ConfigError(f"LOSS.{key}: {cfg.LOSS[key]}; allowed: 0 or more")
    return TripletCriterion([cfg.LOSS[key] for key in keys])
