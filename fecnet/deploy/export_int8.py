"""``fecnet export --format int8``: an ``.onnx`` file that computes in 8-bit integers, for CPUs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.deploy.export_graph import Save, Source
from fecnet.deploy.export_onnx import onnx_graph, saved
from fecnet.deploy.exported_files import INPUT, first_line, import_or_tell

# Most of the time goes here. Norms, roots and softmax stay in float.
_QUANTISED = ["Conv", "Gemm", "MatMul", "Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool"]


def make_int8(source: Source) -> Save:
    """The graph of the net, quantised by what it says to the faces for calibration, to be written as ``.onnx``.

    Static: the range of every activation is that of these faces. Weights have a scale for each output channel, and 7
    bits: with 8, CPUs without VNNI instructions add up products to more than 16 bits hold, and cut them off.

    Raises:
        ValueError: a package is missing, or the net has an operator that ONNX has not.
    """
    import_or_tell("onnxruntime", source.name)
    proto = onnx_graph(source)
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as temporary, _no_advice():
        whole, fused, done = (Path(temporary) / f"{name}.onnx" for name in ("whole", "fused", "int8"))
        saved(proto)(whole, {})
        try:
            quant_pre_process(whole, fused, skip_symbolic_shape=True)  # batch norms into convolutions
            quantization.quantize_static(
                fused,
                done,
                _Faces(source.calibration()),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=_deciding_where_to_look(fused),
            )
        except Exception as error:  # its errors share no class
            raise ValueError(f"{source.name}: cannot be quantised: {first_line(error)}") from error
        import onnx

        return saved(onnx.load(done))


class _Faces:
    """What onnxruntime asks for the next batch for calibration."""

    def __init__(self, batches: Iterator[np.ndarray]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _deciding_where_to_look(path: Path) -> list[str]:
    """The nodes from which a spatial transformer has its grid: 256 levels are too few to name a place in a face."""
    import onnx

    nodes = onnx.load(path).graph.node
    maker = {output: node for node in nodes for output in node.output}
    found: dict[str, Any] = {}
    wanted = [node.input[1] for node in nodes if node.op_type == "GridSample"]
    while wanted:
        node = maker.get(wanted.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            wanted += node.input
    return list(found)


@contextmanager
def _no_advice() -> Iterator[None]:
    """Keep what onnxruntime logs about its own steps from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
