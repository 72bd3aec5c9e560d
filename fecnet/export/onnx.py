"""``fecnet export --format onnx``: one ``.onnx`` file for any number of faces."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from fecnet.encoder.exported_files import INPUT, META, first_line, import_or_tell
from fecnet.engine.description import CheckpointInfo
from fecnet.export.graph import Save, Source
from fecnet.faces.quiet import quiet
from fecnet.utils.errors import UserError
from fecnet.utils.files import write_bytes


def make_onnx(source: Source) -> Save:
    """The graph of the net, to be written as ``.onnx``.

    Raises:
        UserError: a package is missing, or the net has an operator that ONNX lacks.
    """
    return saved(onnx_graph(source))


def onnx_graph(source: Source) -> Any:
    """An ``onnx.ModelProto`` that contains the weights.

    Raises:
        UserError: a package is missing, or the net has an operator that ONNX lacks.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        import_or_tell(package, source.name)
    program = source.graph()
    image = source.graph_input(source.blank(2))
    with torch.no_grad():
        names = list(program.module()(image))
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            made = torch.onnx.export(
                program,
                (image,),
                input_names=[INPUT],
                output_names=names,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many types
        raise UserError(f"{source.name}: cannot be written as ONNX: {_reason(error)}") from error
    assert made is not None
    proto = made.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        del part.metadata_props[:]  # stack traces with this machine's paths
    for node in proto.graph.node:
        node.doc_string = ""
    return proto


def saved(proto: Any) -> Save:
    """A function that writes an ``onnx.ModelProto``."""

    def save(path: Path, info: CheckpointInfo) -> None:
        import onnx

        onnx.helper.set_model_props(proto, {META: json.dumps(info.to_dict())})
        write_bytes(path, proto.SerializeToString())

    return save


def _reason(error: BaseException) -> str:
    """The first cause, which names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
