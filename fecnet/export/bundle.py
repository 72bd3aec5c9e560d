"""``fecnet export --format bundle | half``: a folder with weights, their description and a model card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from fecnet.engine.checkpoint import load_info
from fecnet.engine.description import INFO_FILE, CheckpointInfo
from fecnet.export.graph import Save, Source
from fecnet.export.model_card import model_card
from fecnet.utils.errors import CheckpointError, UserError
from fecnet.utils.files import write_bytes
from fecnet.utils.in_place import flush_folder

_WEIGHTS, _CARD = "model.safetensors", "README.md"


def is_bundle_alone(path: Path) -> bool:
    """Whether a folder is a bundle and contains nothing else."""
    names = {file.name for file in path.iterdir()}
    if path.is_symlink() or names != {_WEIGHTS, INFO_FILE, _CARD}:
        return False
    return load_info(path).export is not None


def make_bundle(source: Source) -> Save:
    """``model.safetensors`` unchanged, ``meta.json`` and ``README.md``: a checkpoint without a run.

    Raises:
        UserError: ``--raw``, which needs a graph; a bundle has none.
    """
    return _bundle(source, Path.read_bytes)


def make_half(source: Source) -> Save:
    """A bundle of half the size: filters and matrices are stored in float16; computation is in float32, as always.

    Biases and batch-norm statistics stay in float32: they are few, and small variances would underflow in float16.

    Raises:
        UserError: ``--raw``, or a weight beyond the range of float16.
    """
    return _bundle(source, _halved)


def _bundle(source: Source, weights: Callable[[Path], bytes]) -> Save:
    if source.raw:
        raise UserError("--raw: a bundle has weights and no graph; allowed with onnx, torch, int8")

    def save(path: Path, info: CheckpointInfo) -> None:
        path.mkdir(exist_ok=True)
        write_bytes(path / _WEIGHTS, weights(source.files / _WEIGHTS))
        write_bytes(path / INFO_FILE, json.dumps(info.to_dict(), indent=2).encode())
        write_bytes(path / _CARD, model_card(info).encode())
        flush_folder(path)

    return save


def _halved(file: Path) -> bytes:
    """The weights in ``file``, those of two dimensions or more in float16."""
    state = safetensors.torch.load_file(file)
    for name, value in state.items():
        if value.is_floating_point() and value.ndim > 1:
            state[name] = value.half()
            if not state[name].isfinite().all():
                largest = torch.finfo(torch.float16).max
                raise CheckpointError(f"{file}: {name} holds {value.abs().max():g}; allowed in half: up to {largest:g}")
    return safetensors.torch.save(state)
