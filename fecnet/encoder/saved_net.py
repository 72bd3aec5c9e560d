"""The net of a run or checkpoint, as it was saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fecnet.config.node import Frozen, load_config
from fecnet.engine.checkpoint import find_checkpoint, load_meta, load_weights
from fecnet.modeling.build import build_model
from fecnet.modeling.models import ExpressionNet
from fecnet.utils.errors import CheckpointError

_PREPROCESSING = ("height", "width", "channels", "crop", "input_size")


class SavedNet(NamedTuple):
    """A net and what it was trained with.

    Attributes:
        checkpoint: its folder.
        meta: what stands in ``meta.json``.
        cfg: settings of its training.
        net: in evaluation mode, on the CPU.
    """

    checkpoint: Path
    meta: dict[str, Any]
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
    meta = load_meta(folder)
    check_preprocessing(meta, f"{folder}/meta.json")
    cfg = load_config(base=meta["config"], base_name=f"{folder}/meta.json")
    net = build_saved_net(cfg, meta)
    load_weights(folder, net)
    return SavedNet(folder, meta, cfg, net)


def build_saved_net(cfg: Frozen, meta: Mapping[str, Any]) -> ExpressionNet:
    """A net by ``cfg`` for the images and classes that ``meta`` names, untrained, in evaluation mode."""
    return build_model(cfg, len(meta["preprocessing"]["channels"]), len(meta.get("classes", ()))).eval()


def check_preprocessing(meta: Mapping[str, Any], origin: str) -> None:
    """Raise unless ``meta`` says what images the net takes.

    Raises:
        CheckpointError: names what lacks, or that the faces are not square.
    """
    seen = meta["preprocessing"]
    lacking = [key for key in _PREPROCESSING if key not in seen]
    if lacking:
        raise CheckpointError(f"{origin}: not a checkpoint description: preprocessing lacks {lacking[0]}")
    if seen["height"] != seen["width"]:
        raise CheckpointError(f"{origin}: faces of {seen['height']}×{seen['width']} pixels; allowed: square ones")
