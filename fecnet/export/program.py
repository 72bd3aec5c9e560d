"""``fecnet export --format torch``: a ``.pt2`` file of ``torch.export``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch

from fecnet.encoder.exported_files import META
from fecnet.engine.description import CheckpointInfo
from fecnet.export.graph import Save, Source
from fecnet.faces.quiet import quiet
from fecnet.utils.files import write_bytes


def make_program(source: Source) -> Save:
    """The graph of the net, to be written as ``.pt2``; any torch opens it, ``torch.export.load`` as well.

    Raises:
        UserError: the net does what no graph can hold.
    """
    program = source.graph()

    def save(path: Path, info: CheckpointInfo) -> None:
        held = io.BytesIO()
        with quiet():
            torch.export.save(program, held, extra_files={META: json.dumps(info.to_dict())})
        write_bytes(path, held.getbuffer())

    return save
