"""The net of a run or checkpoint, as it was saved."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fecnet.config.node import Frozen
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.checkpointer import load_weights
from fecnet.engine.description import CheckpointInfo
from fecnet.modeling.build import build_model
from fecnet.modeling.models import ExpressionNet
from fecnet.utils.errors import CheckpointError


class SavedNet(NamedTuple):
    """A net and what it was trained with.

    Attributes:
        checkpoint: folder of the checkpoint.
        info: its description.
        cfg: settings of its training.
        net: the net, in evaluation mode, on the CPU.
    """

    checkpoint: Path
    info: CheckpointInfo
    cfg: Frozen
    net: ExpressionNet


def open_saved_net(path: str | Path, checkpoint: str = "best") -> SavedNet:
    """Open the net of a run or checkpoint folder.

    Args:
        path: the folder.
        checkpoint: ``best`` or ``last``, for a run folder.

    Raises:
        CheckpointError: no checkpoint, or one that cannot be read.
    """
    folder = find_checkpoint(path, checkpoint)
    info = load_info(folder)
    check_square(info)
    cfg = info.settings()
    net = build_saved_net(cfg, info)
    load_weights(folder, net)
    return SavedNet(folder, info, cfg, net)


def build_saved_net(cfg: Frozen, info: CheckpointInfo) -> ExpressionNet:
    """Build the net of ``cfg`` for the images and classes of ``info``, untrained, in evaluation mode."""
    return build_model(cfg, len(info.preprocessing.channels), len(info.classes), info.extra_sizes).eval()


def check_square(info: CheckpointInfo) -> None:
    """Check that the net was trained on square faces, since pictures are converted to square faces only.

    Raises:
        CheckpointError: the faces are not square.
    """
    seen = info.preprocessing
    if seen.height != seen.width:
        raise CheckpointError(f"{info.origin}: faces of {seen.height}×{seen.width} pixels; allowed: square ones")
