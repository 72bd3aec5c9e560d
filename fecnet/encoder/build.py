"""Builds an ``Encoder`` from a checkpoint or an exported file; settings are read only here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fecnet.data.build import build_views
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.exported_files import META
from fecnet.encoder.face_maker import FaceMaker
from fecnet.encoder.face_net import FaceNet
from fecnet.encoder.onnx_net import OnnxNet
from fecnet.encoder.saved_net import check_square, open_saved_net
from fecnet.engine.description import CheckpointInfo, parse_info
from fecnet.engine.predict import Net
from fecnet.faces.recipe import FaceRecipe
from fecnet.modeling.fast_inference import for_inference
from fecnet.nets.shipped import shown_name
from fecnet.utils.env import choose_device
from fecnet.utils.errors import CheckpointError, ConfigError, UserError
from fecnet.utils.files import hash_file
from fecnet.utils.shown import shown
from fecnet.utils.typed_json import to_json


def load_encoder(
    path: str | Path,
    *,
    checkpoint: str = "best",
    device: str = "auto",
    batch_size: int = 0,
    detector_model: str | Path = "",
    detector_device: str = "cpu",
    try_turns: bool = False,
) -> Encoder:
    """The net of a run, checkpoint or exported file with its preprocessing; see ``fecnet.load``.

    Raises:
        UserError: no such checkpoint or file, damaged, an unsupported format version or kind, or no such device.
    """
    if checkpoint not in ("best", "last"):
        raise UserError(f"checkpoint: unknown name {shown(checkpoint)}; allowed: best, last")
    file = Path(path)
    if file.suffix == ".onnx":
        opened = _open_onnx(file, device)
    elif file.suffix == ".pt2" or file.is_file():
        allowed = "a run or checkpoint folder, a bundle, a .onnx file of `fecnet export`"
        program = "a .pt2 is opened with torch.export.load, which runs code from the file: only one that you trust"
        raise CheckpointError(f"{path}: allowed here: {allowed}; {program}")
    else:
        opened = _open_checkpoint(path, checkpoint, device)
    return build_encoder(
        opened,
        batch_size=batch_size,
        detector_model=detector_model,
        detector_device=detector_device,
        try_turns=try_turns,
    )


class OpenedNet(NamedTuple):
    """An opened net with its description.

    Attributes:
        name: its path, or the name of a shipped net.
        file: the file with its weights.
        info: its description.
        net: maps images to outputs.
        device: the device it runs on.
    """

    name: str
    file: Path
    info: CheckpointInfo
    net: Net
    device: torch.device


def build_encoder(
    opened: OpenedNet,
    *,
    batch_size: int = 0,
    detector_model: str | Path = "",
    detector_device: str = "cpu",
    try_turns: bool = False,
) -> Encoder:
    """The net with its preprocessing; see ``fecnet.load``.

    Raises:
        UserError: its description is incomplete.
    """
    info = opened.info
    cfg, preprocessing = info.settings(), info.preprocessing
    maker = FaceMaker(
        size=preprocessing.height,
        channels=preprocessing.channels,
        recipe=_recipe(info),
        origin=opened.name,
        detector_model=detector_model,
        detector_device=detector_device,
        try_turns=try_turns,
    )
    inside = info.export is not None and info.export.raw
    net = FaceNet(
        opened.net,
        views=[_channels_last] if inside else build_views(cfg, preprocessing.height, preprocessing.width),
        device=opened.device,
        batch_size=batch_size or cfg.EVAL.BATCH_SIZE,
        face_shape=maker.shape,
        name=opened.name,
    )
    if isinstance(opened.net, OnnxNet):
        _check_graph(net.shapes, info, cfg.MODEL.EMBEDDING_DIM)
    return Encoder(
        net,
        maker,
        classes=info.classes,
        label_sets=info.label_sets,
        choice_scale=info.choice_scale,
        name=opened.name,
        identity=_identity(opened.file, {**to_json(preprocessing), "views": cfg.EVAL.TTA}),
    )


def _open_checkpoint(path: str | Path, checkpoint: str, device: str) -> OpenedNet:
    where = choose_device(device)
    folder, info, _, net = open_saved_net(path, checkpoint)
    return OpenedNet(shown_name(folder), folder / "model.safetensors", info, for_inference(net.to(where)), where)


def _open_onnx(path: Path, device: str) -> OpenedNet:
    """An ``.onnx`` file of ``fecnet export``.

    Raises:
        UserError: no such file, not made by fecnet, damaged, or a GPU is asked for.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if device not in ("auto", "cpu"):
        raise ConfigError(f"DEVICE: {shown(device)} with {path}: ONNX files run on the CPU here; allowed: auto, cpu")
    net = OnnxNet(path)
    if META not in net.extra:
        raise CheckpointError(f"{path}: has no description of its preprocessing; allowed: files of `fecnet export`")
    info = parse_info(net.extra[META], str(path))
    check_square(info)
    return OpenedNet(str(path), path, info, net, torch.device("cpu"))


def _check_graph(shapes: Mapping[str, tuple[int, ...]], info: CheckpointInfo, dims: int) -> None:
    """Check that the outputs of a graph are those that its description names.

    Raises:
        CheckpointError: they differ: graph and description do not belong together.
    """
    wanted = {"logits": (len(info.classes),)} if info.classes else {}
    wanted |= {"embedding": (dims,)} if info.kind in ("embedding", "joint") else {}
    wanted |= {"valence_arousal": (2,)} if info.kind == "affect" else {}
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise CheckpointError(
                f"{info.origin}: its graph gives {name} of shape {shapes.get(name)}, its description says {shape}"
            )


def _channels_last(image_NCHW: Tensor) -> Tensor:
    """The view for a graph that includes the preprocessing: stored faces, channels last."""
    return image_NCHW.permute(0, 2, 3, 1)


def _identity(file: Path, preprocessing: Mapping[str, Any]) -> str:
    """A hash of the weights and the preprocessing, independent of paths."""
    digest = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode()).hexdigest()
    return f"{hash_file(file)[:16]}-{digest[:8]}"


def _recipe(info: CheckpointInfo) -> FaceRecipe:
    """How the faces of the training data were made."""
    try:
        return FaceRecipe.from_dict(info.preprocessing.faces)
    except UserError as error:
        raise CheckpointError(f"{info.origin}: {error}") from error
