"""Data from settings."""

from __future__ import annotations

from typing import Any

from fecnet.data.augment import Augment
from fecnet.data.loader import TripletLoader, vote_weights
from fecnet.data.packed import PackedDataset
from fecnet.data.samplers import TripletSampler


def build_loader(cfg: Any, dataset: PackedDataset, *, rank: int, world_size: int, pin: bool) -> TripletLoader:
    """The training loader of ``cfg.DATA.TRAIN_SPLIT``; see ``TripletLoader`` for what it raises."""
    table = dataset.triplets(cfg.DATA.TRAIN_SPLIT)
    if cfg.SOLVER.ACCUMULATE < 1:
        raise ValueError(f"SOLVER.ACCUMULATE: {cfg.SOLVER.ACCUMULATE}; allowed: 1 or more")
    sampler = TripletSampler(
        table.type_T, batch_size=cfg.SOLVER.BATCH_SIZE, seed=cfg.SEED, balance=cfg.DATA.BALANCE_TYPES
    )
    return TripletLoader(
        dataset.faces_NHWC,
        table,
        sampler,
        weight_T=vote_weights(table) if cfg.DATA.VOTE_WEIGHTS else None,
        accumulate=cfg.SOLVER.ACCUMULATE,
        rank=rank,
        world_size=world_size,
        pin=pin,
    )


def build_augment(cfg: Any, channels: list[str]) -> Augment:
    """The training augmentation for images with these channels.

    Raises:
        ValueError: a value of ``cfg.AUGMENT`` or ``cfg.DATA`` is out of its range.
    """
    try:
        return Augment(
            seed=cfg.SEED,
            input_size=cfg.DATA.INPUT_SIZE,
            crop=cfg.DATA.CROP,
            mask_channel="mask" in channels,
            channels_last=cfg.SOLVER.CHANNELS_LAST,
            **{key.lower(): value for key, value in cfg.AUGMENT.items()},
        )
    except ValueError as error:
        raise ValueError(f"AUGMENT, {error}") from error
