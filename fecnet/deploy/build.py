"""From a checkpoint to an ``Encoder``: the settings stop here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fecnet.config.node import load_config
from fecnet.data.build import build_views
from fecnet.deploy.encoder import Encoder
from fecnet.deploy.face_maker import FaceMaker
from fecnet.engine.checkpoint import find_checkpoint, load_meta, load_weights
from fecnet.faces.recipe import FaceRecipe
from fecnet.modeling.build import build_model
from fecnet.utils.env import choose_device
from fecnet.utils.files import hash_file

_PREPROCESSING = ("height", "width", "channels", "crop", "input_size")


def load_encoder(
    path: str | Path,
    *,
    which: str = "best",
    device: str = "auto",
    batch_size: int = 0,
    detector_model: str | Path = "",
    detector_device: str = "cpu",
) -> Encoder:
    """The net of a run or checkpoint with its preprocessing; see ``fecnet.load``.

    Raises:
        ValueError: no checkpoint, a damaged one, one of another format version, or a device that is not there.
    """
    if which not in ("best", "last"):
        raise ValueError(f"which: unknown name {which!r}; allowed: best, last")
    checkpoint = find_checkpoint(path, which)
    meta = load_meta(checkpoint)
    cfg = load_config(base=meta["config"], base_name=f"{checkpoint}/meta.json")
    seen = meta["preprocessing"]
    lacking = [key for key in _PREPROCESSING if key not in seen]
    if lacking:
        raise ValueError(f"{checkpoint}/meta.json: not a checkpoint description: preprocessing lacks {lacking[0]}")
    if seen["height"] != seen["width"]:
        raise ValueError(f"{checkpoint}: faces of {seen['height']}×{seen['width']} pixels; allowed: square ones")
    where = choose_device(device)
    model = build_model(cfg, len(seen["channels"]), len(meta.get("classes", ())))
    load_weights(checkpoint, model)
    maker = FaceMaker(
        size=seen["height"],
        channels=seen["channels"],
        recipe=_recipe(meta, checkpoint),
        recorded=seen.get("faces") is not None,
        origin=str(checkpoint),
        detector_model=detector_model,
        detector_device=detector_device,
    )
    return Encoder(
        model.to(where),
        maker,
        views=build_views(cfg, seen["height"], seen["width"]),
        device=where,
        batch_size=batch_size or cfg.EVAL.BATCH_SIZE,
        classes=meta.get("classes", ()),
        name=str(checkpoint),
        identity=_identity(checkpoint, {**seen, "views": cfg.EVAL.VIEWS}),
    )


def _identity(checkpoint: Path, preprocessing: Mapping[str, Any]) -> str:
    """The weights and what they are shown, wherever they lie."""
    shown = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode()).hexdigest()
    return f"{hash_file(checkpoint / 'model.safetensors')[:16]}-{shown[:8]}"


def _recipe(meta: Mapping[str, Any], checkpoint: Path) -> FaceRecipe | None:
    """How the faces of the training data were made; None where nothing is known.

    Data sets made before they said it tell by their sources which command made them, and so how it makes pictures
    square; what was aligned or cut by points, and how, they do not tell.
    """
    recorded = meta["preprocessing"].get("faces")
    if recorded is not None:
        try:
            return FaceRecipe.from_dict(recorded)
        except ValueError as error:
            raise ValueError(f"{checkpoint}/meta.json: {error}") from error
    sources = meta["data"].get("sources", {})
    if "landmarks" in sources:
        return None
    return FaceRecipe(fit="whole" if {"faces", "faces: crops.csv"} & set(sources) else "central")
