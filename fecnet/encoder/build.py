"""From a checkpoint, or a file that was exported from one, to an ``Encoder``: the settings stop here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fecnet.config.node import load_config
from fecnet.data.build import build_views
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.exported_files import META
from fecnet.encoder.face_maker import FaceMaker
from fecnet.encoder.graph_net import GraphNet
from fecnet.encoder.onnx_net import OnnxNet
from fecnet.encoder.saved_net import check_preprocessing, open_saved_net
from fecnet.engine.checkpoint import read_meta
from fecnet.engine.predict import Net
from fecnet.faces.recipe import FaceRecipe
from fecnet.utils.env import choose_device
from fecnet.utils.errors import CheckpointError, ConfigError, UserError
from fecnet.utils.files import hash_file


def load_encoder(
    path: str | Path,
    *,
    checkpoint: str = "best",
    device: str = "auto",
    batch_size: int = 0,
    detector_model: str | Path = "",
    detector_device: str = "cpu",
) -> Encoder:
    """The net of a run, checkpoint or exported file with its preprocessing; see ``fecnet.load``.

    Raises:
        UserError: nothing there, damaged, of another format version, or a device that is not there.
    """
    if checkpoint not in ("best", "last"):
        raise UserError(f"checkpoint: unknown name {checkpoint!r}; allowed: best, last")
    opened = _open_file(Path(path), device) if is_exported_file(path) else _open_checkpoint(path, checkpoint, device)
    meta, origin = opened.meta, opened.origin
    cfg = load_config(base=meta["config"], base_name=origin)
    seen = meta["preprocessing"]
    maker = FaceMaker(
        size=seen["height"],
        channels=seen["channels"],
        recipe=_recipe(meta, origin),
        recorded=seen.get("faces") is not None,
        origin=opened.name,
        detector_model=detector_model,
        detector_device=detector_device,
    )
    inside = meta.get("export", {}).get("raw", False)
    return Encoder(
        opened.net,
        maker,
        views=[_channels_last] if inside else build_views(cfg, seen["height"], seen["width"]),
        device=opened.device,
        batch_size=batch_size or cfg.EVAL.BATCH_SIZE,
        classes=meta.get("classes", ()),
        name=opened.name,
        identity=_identity(opened.file, {**seen, "views": cfg.EVAL.TTA}),
    )


def is_exported_file(path: str | Path) -> bool:
    """Whether the name is that of a file of ``fecnet export``; what else it writes is a checkpoint folder."""
    return Path(path).suffix in (".onnx", ".pt2")


class _Opened(NamedTuple):
    """A net, and what it says of itself.

    Attributes:
        name: where it is.
        origin: what says it, for errors.
        file: with its weights.
        meta: see ``read_meta``.
        net: maps images to outputs.
        device: where it runs.
    """

    name: str
    origin: str
    file: Path
    meta: dict[str, Any]
    net: Net
    device: torch.device


def _open_checkpoint(path: str | Path, checkpoint: str, device: str) -> _Opened:
    where = choose_device(device)
    folder, meta, _, net = open_saved_net(path, checkpoint)
    origin = f"{folder}/meta.json"
    return _Opened(str(folder), origin, folder / "model.safetensors", meta, net.to(where), where)


def _open_file(path: Path, device: str) -> _Opened:
    """A file of ``fecnet export``.

    Raises:
        UserError: no such file, not made by fecnet, damaged, or a GPU is asked for and the file runs on CPUs alone.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    net: OnnxNet | GraphNet
    if path.suffix == ".onnx":
        where = torch.device("cpu")
        if device not in ("auto", "cpu"):
            raise ConfigError(f"DEVICE: {device!r} with {path}: ONNX files run on the CPU here; allowed: auto, cpu")
        net = OnnxNet(path)
    else:
        where = choose_device(device)
        net = GraphNet(path, where)
    if META not in net.extra:
        raise CheckpointError(f"{path}: says nothing of its preprocessing; allowed: files that `fecnet export` made")
    meta = read_meta(net.extra[META], str(path))
    check_preprocessing(meta, str(path))
    return _Opened(str(path), str(path), path, meta, net, where)


def _channels_last(image_NCHW: Tensor) -> Tensor:
    """The view of a file that has its preprocessing inside: faces as they are stored."""
    return image_NCHW.permute(0, 2, 3, 1)


def _identity(file: Path, preprocessing: Mapping[str, Any]) -> str:
    """The weights and what they are shown, wherever they lie."""
    shown = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode()).hexdigest()
    return f"{hash_file(file)[:16]}-{shown[:8]}"


def _recipe(meta: Mapping[str, Any], origin: str) -> FaceRecipe | None:
    """How the faces of the training data were made; None where nothing is known.

    Data sets made before they said it tell by their sources which command made them, and so how it makes pictures
    square; what was aligned or cut by points, and how, they do not tell.
    """
    recorded = meta["preprocessing"].get("faces")
    if recorded is not None:
        try:
            return FaceRecipe.from_dict(recorded)
        except UserError as error:
            raise CheckpointError(f"{origin}: {error}") from error
    sources = meta["data"].get("sources", {})
    if "landmarks" in sources:
        return None
    return FaceRecipe(fit="whole" if {"faces", "faces: crops.csv"} & set(sources) else "central")
