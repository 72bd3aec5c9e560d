"""Criteria from settings."""

from __future__ import annotations

from typing import Any

from fecnet.modeling.criterion.triplet import TripletCriterion


def build_criterion(cfg: Any) -> TripletCriterion:
    """The triplet loss with the margins of ``cfg.LOSS``.

    Raises:
        ValueError: a margin below 0.
    """
    keys = ("MARGIN_ONE_CLASS", "MARGIN_TWO_CLASS", "MARGIN_THREE_CLASS")
    for key in keys:
        if cfg.LOSS[key] < 0:
            raise ValueError(f"LOSS.{key}: {cfg.LOSS[key]}; allowed: 0 or more")
    return TripletCriterion([cfg.LOSS[key] for key in keys])
