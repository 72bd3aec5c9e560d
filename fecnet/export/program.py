"""``fecnet export --format torch``: a ``.pt2`` file of ``torch.export``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch

from fecnet.encoder.build import OpenedNet, build_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.exported_files import META
from fecnet.engine.description import CheckpointInfo, parse_info
from fecnet.export.graph import Save, Source
from fecnet.faces.quiet import quiet
from fecnet.utils.files import write_bytes


def make_program(source: Source) -> Save:
    """The graph of the net, to be written as ``.pt2``, which ``torch.export.load`` opens.

    Raises:
        UserError: the net cannot be exported as a graph.
    """
    program = source.graph()

    def save(path: Path, info: CheckpointInfo) -> None:
        held = io.BytesIO()
        with quiet():
            torch.export.save(program, held, extra_files={META: json.dumps(info.to_dict())})
        write_bytes(path, held.getbuffer())

    return save


def open_program(path: Path) -> Encoder:
    """The net of a ``.pt2`` file that this process has just written, on the CPU.

    ``torch.export.load`` runs code from the file, so do not use this for any other file.
    """
    extra = {META: ""}
    with quiet():
        net = torch.export.load(path, extra_files=extra).module()
    return build_encoder(OpenedNet(str(path), path, parse_info(extra[META], str(path)), net, torch.device("cpu")))
