"""Builds the search for hard triplets from the settings, and refuses it where it would bias the result."""

from __future__ import annotations

import torch

from fecnet.config.node import Frozen
from fecnet.data.build import build_triplets
from fecnet.data.hard_sampler import HardTripletSampler
from fecnet.data.packed import PackedDataset
from fecnet.data.samplers import RoundSampler
from fecnet.data.views import center
from fecnet.engine.hard_triplets import HardTriplets
from fecnet.engine.trainer import Periods
from fecnet.utils.errors import ConfigError


def build_hard_triplets(
    cfg: Frozen, dataset: PackedDataset, sampler: RoundSampler, periods: Periods, device: torch.device, *, choices: bool
) -> HardTriplets | None:
    """The object that finds the triplets that the net gets wrong; None without ``cfg.DATA.HARD_TRIPLETS``.

    Args:
        cfg: the whole settings.
        dataset: the packed data set.
        sampler: sampler of the training.
        periods: periods of the training.
        device: device of the model.
        choices: a criterion learns probabilities of the raters' choices.

    Raises:
        ConfigError: such probabilities are learned, or the training ends with its first epoch.
    """
    if not isinstance(sampler, HardTripletSampler):
        return None
    share = cfg.DATA.HARD_TRIPLETS
    if choices:
        raise ConfigError(
            f"DATA.HARD_TRIPLETS: {share}, but LOSS.CRITERIA {list(cfg.LOSS.CRITERIA)} learns probabilities of the "
            "raters' choices, which would be biased towards uncertainty; allowed here: 0"
        )
    if periods.last <= periods.epoch:
        raise ConfigError(
            f"DATA.HARD_TRIPLETS: {share}, but hard triplets are found after each epoch of {periods.epoch} iterations, "
            f"and the training has {periods.last}; allowed here: 0, or a larger SOLVER.LENGTH"
        )
    return HardTriplets(
        sampler,
        cfg.DATA.TRAIN_SPLIT,
        build_triplets(cfg, dataset, cfg.DATA.TRAIN_SPLIT),
        dataset.faces_NHWC,
        views=center(cfg.DATA.INPUT_SIZE, cfg.DATA.CROP),
        batch_size=cfg.EVAL.BATCH_SIZE,
        device=device,
    )
