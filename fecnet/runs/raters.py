"""The abilities of raters that a run has learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.checkpointer import load_trainer
from fecnet.modeling.criterion.rater_choice import ABILITY
from fecnet.runs.folders import data_differences
from fecnet.utils.errors import UserError


def learned_abilities(run: str | Path, dataset: PackedDataset, split: str, num_raters: int) -> np.ndarray:
    """The ability of each rater in the best checkpoint, the last one where none is best, shape (R,).

    Args:
        run: run or checkpoint folder.
        dataset: the data set that it was trained on.
        split: split of the raters.
        num_raters: R, as counted by ``read_rater_answers``.

    Raises:
        UserError: a run without the criterion ``rater_choice``, or trained on other data or another split.
    """
    checkpoint = find_checkpoint(run, "best")
    info = load_info(checkpoint)
    cfg = info.settings()
    criteria = list(cfg.LOSS.CRITERIA)
    if "rater_choice" not in criteria:
        raise UserError(f"--run {run}: trained with LOSS.CRITERIA {criteria}; allowed: a run with rater_choice")
    if split != cfg.DATA.TRAIN_SPLIT:
        raise UserError(f"--run {run}: trained on split '{cfg.DATA.TRAIN_SPLIT}'; allowed: that as --split")
    state = load_trainer(checkpoint)["criterion"]
    (ability_R,) = (value.numpy() for name, value in state.items() if name.rpartition(".")[2] == ABILITY)
    if data_differences(info, dataset) or len(ability_R) != num_raters:
        raise UserError(f"--run {run}: trained on other data than {dataset.path}; allowed: a run of this data set")
    return np.asarray(ability_R)
