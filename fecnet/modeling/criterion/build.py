"""Builds criteria from ``cfg.LOSS``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from fecnet.config.node import flatten
from fecnet.modeling.criterion.cross_entropy import CrossEntropyCriterion
from fecnet.modeling.criterion.registry import CRITERIA
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.modeling.parts import Choice, CriterionEntry, check_used
from fecnet.utils.errors import ConfigError
from fecnet.utils.lookup import lookup


def criteria_read(cfg: Any) -> tuple[str, ...]:
    """Inputs that the criteria read from a batch: ``triplets``, ``answers`` of raters and names of targets, each once.

    Raises:
        ConfigError: an unknown criterion, none that reads annotations, one that requires another criterion, a
            setting that none of them uses, or mixed faces for one that cannot take them.
    """
    names, chosen = list(cfg.LOSS.CRITERIA), _chosen(cfg)
    every = [name for entry in chosen.values() for name in entry.reads]
    if not every:
        raise ConfigError(f"LOSS.CRITERIA: {names} reads neither triplets nor labels; add one that does")
    readers = [name for name, entry in chosen.items() if "logits" in entry.outputs]
    if readers and not any(entry.trains_classes for entry in chosen.values()):
        trainers = ", ".join(name for name, entry in CRITERIA.items() if entry.trains_classes)
        raise ConfigError(f"LOSS.CRITERIA: {names} trains no classes; {readers[0]} also needs one of: {trainers}")
    unmixed = [name for name, entry in chosen.items() if not entry.mixes]
    if unmixed and (cfg.AUGMENT.MIXUP or cfg.AUGMENT.CUTMIX):
        able = ", ".join(name for name, entry in CRITERIA.items() if entry.mixes)
        raise ConfigError(
            f"AUGMENT.MIXUP: {cfg.AUGMENT.MIXUP}, CUTMIX: {cfg.AUGMENT.CUTMIX}, but LOSS.CRITERIA {names} has "
            f"'{unmixed[0]}', for which targets are not mixed; allowed here: 0, or only criteria of: {able}"
        )
    check_used(dict(flatten(cfg)), [Choice("LOSS.CRITERIA", CRITERIA, names)])
    return tuple(dict.fromkeys(every))


def criteria_outputs(cfg: Any) -> set[str]:
    """The outputs of the net that the criteria read."""
    return {name for entry in _chosen(cfg).values() for name in entry.outputs}


def build_criterion(
    cfg: Any,
    classes: Sequence[str] = (),
    *,
    class_weights: Sequence[float] | None = None,
    relabel_after: int | None = None,
    answers: Sequence[int] = (),
) -> nn.Module:
    """The criterion of ``cfg.LOSS``: a weighted sum where there are several, with those of ``cfg.DATA.EXTRA_LABELS``.

    Args:
        cfg: the whole settings.
        classes: names in label order; empty where no criterion reads labels.
        class_weights: weight of each class, or None for 1.
        relabel_after: iterations before SCN's relabelling starts; None = never.
        answers: number of answers of each rater of the split trained on; empty where no criterion reads answers.

    Raises:
        ConfigError: an unknown name, weights that do not match the names, or a setting out of range.
    """
    names, weights = list(cfg.LOSS.CRITERIA), list(cfg.LOSS.WEIGHTS)
    if len(names) != len(weights):
        raise ConfigError(f"LOSS.WEIGHTS: {len(weights)} numbers for {len(names)} of LOSS.CRITERIA; give one each")
    if len(set(names)) < len(names):
        raise ConfigError(f"LOSS.CRITERIA: {names} names one twice; allowed: each once")
    chosen = _chosen(cfg)
    scaled = [name for name, entry in chosen.items() if "scale" in entry.options]
    if len(scaled) > 1:
        raise ConfigError(f"LOSS.CRITERIA: {names}: {' and '.join(scaled)} read the same answers; allowed: one of them")
    meant: dict[str, Any] = {"DATA.TRAIN_SPLIT": answers}
    meant |= {"DATA.LABELS": classes, "LOSS.CLASS_WEIGHTS": class_weights, "LOSS.SCN_RELABEL_AFTER": relabel_after}
    settings = {**dict(flatten(cfg)), **meant}
    criteria = [entry.build(**entry.keywords(settings)) for entry in chosen.values()]
    if len(names) == 1 and weights[0] == 1 and not cfg.DATA.EXTRA_LABELS:
        return criteria[0]
    extra = [(CrossEntropyCriterion(label_set=name), cfg.LOSS.EXTRA_WEIGHT) for name in cfg.DATA.EXTRA_LABELS]
    return WeightedCriteria([*zip(criteria, weights, strict=True), *extra])


def _chosen(cfg: Any) -> dict[str, CriterionEntry]:
    return {name: lookup(CRITERIA, name, key="LOSS.CRITERIA") for name in cfg.LOSS.CRITERIA}
