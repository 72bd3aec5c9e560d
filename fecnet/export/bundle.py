"""``fecnet export --format bundle``: a folder with weights, their description and a model card."""

from __future__ import annotations

import json
from pathlib import Path

from fecnet.engine.checkpoint import load_info
from fecnet.engine.description import INFO_FILE, CheckpointInfo
from fecnet.export.graph import Save, Source
from fecnet.export.model_card import model_card
from fecnet.utils.errors import UserError
from fecnet.utils.files import flush_folder, write_bytes

_WEIGHTS, _CARD = "model.safetensors", "README.md"


def is_bundle_alone(path: Path) -> bool:
    """Whether a folder is a bundle and holds nothing else."""
    names = {file.name for file in path.iterdir()}
    if path.is_symlink() or names != {_WEIGHTS, INFO_FILE, _CARD}:
        return False
    return load_info(path).export is not None


def make_bundle(source: Source) -> Save:
    """``model.safetensors`` unchanged, ``meta.json`` and ``README.md``: a checkpoint without a run.

    Raises:
        UserError: ``--raw``, which needs a graph; a bundle has none.
    """
    if source.raw:
        raise UserError("--raw: a bundle has weights and no graph; allowed with onnx, torch, int8")

    def save(path: Path, info: CheckpointInfo) -> None:
        path.mkdir(exist_ok=True)
        write_bytes(path / _WEIGHTS, (source.files / _WEIGHTS).read_bytes())
        write_bytes(path / INFO_FILE, json.dumps(info.to_dict(), indent=2).encode())
        write_bytes(path / _CARD, model_card(info).encode())
        flush_folder(path)

    return save
