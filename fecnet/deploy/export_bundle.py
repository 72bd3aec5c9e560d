"""``fecnet export --format bundle``: a folder with weights, what they need to be used, and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fecnet.deploy.export_graph import Save, Source
from fecnet.deploy.model_card import model_card
from fecnet.utils.files import flush_folder, write_bytes


def make_bundle(source: Source) -> Save:
    """``model.safetensors`` as it is, ``meta.json`` and ``README.md``: a checkpoint that lies alone.

    Raises:
        ValueError: a graph is asked for, which a bundle has not.
    """
    if source.raw:
        raise ValueError("--raw: a bundle has weights and no graph; allowed with onnx, torch, int8")

    def save(path: Path, meta: Mapping[str, Any]) -> None:
        path.mkdir(exist_ok=True)
        write_bytes(path / "model.safetensors", (source.files / "model.safetensors").read_bytes())
        write_bytes(path / "meta.json", json.dumps(meta, indent=2).encode())
        write_bytes(path / "README.md", model_card(meta).encode())
        flush_folder(path)

    return save
