"""``fecnet export --format int8``: an ``.onnx`` file that computes in 8-bit integers, for CPUs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.encoder.exported_files import INPUT, first_line, import_or_tell
from fecnet.export.graph import Save, Source
from fecnet.export.onnx import onnx_graph, saved
from fecnet.utils.errors import UserError
from fecnet.utils.files import write_bytes

# These take most of the time. Norms, roots and softmax stay in float.
_FOLLOWING = ("Relu", "Clip", "PRelu", "MaxPool")
_IMAGE_CHANNELS = 4
_QUANTISED = ["Conv", "Gemm", "MatMul", "Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool"]


def make_int8(source: Source) -> Save:
    """The graph of the net, quantised with the calibration faces, to be written as ``.onnx``.

    Static quantisation: the range of every activation is given by its extremes on these faces. Weights have one scale
    per output channel and 7 bits: with 8, sums of products saturate in 16 bits on CPUs without VNNI instructions.

    Raises:
        UserError: a package is missing, or the net has an operator that ONNX lacks.
    """
    import_or_tell("onnxruntime", source.name)
    proto = onnx_graph(source)
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as temporary, _no_advice():
        whole, fused, done = (Path(temporary) / f"{name}.onnx" for name in ("whole", "fused", "int8"))
        write_bytes(whole, proto.SerializeToString())
        try:
            quant_pre_process(whole, fused, skip_symbolic_shape=True)  # batch norms into convolutions
            proto = onnx.load(fused)
            in_float = _float_nodes(proto.graph)
            quantization.quantize_static(
                proto,
                done,
                _Faces(source.calibration()),
                quant_format=quantization.QuantFormat.QDQ,
                # The other methods fail where the last batch is smaller (onnxruntime 1.31).
                calibrate_method=quantization.CalibrationMethod.MinMax,
                op_types_to_quantize=_QUANTISED,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=in_float,
            )
        except Exception as error:  # its errors share no class
            raise UserError(f"{source.name}: cannot be quantised: {first_line(error)}") from error
        return saved(onnx.load(done))


class _Faces:
    """Calibration data reader for onnxruntime."""

    def __init__(self, batches: Iterator[np.ndarray]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _float_nodes(graph: Any) -> list[str]:
    """Names of the nodes that are not quantised: the first layers, and the sampling grid of a spatial transformer."""
    maker = {output: node for node in graph.node for output in node.output}
    first = _first_layers(graph, maker)
    left = {node.name for node in (*first, *_grid_nodes(graph, maker))}
    _block_before_pools(graph, [node for node in first if node.op_type == "MaxPool"])
    return sorted(left)


def _first_layers(graph: Any, maker: dict[str, Any]) -> list[Any]:
    """The first convolution, and the nodes after it up to the next one.

    With 1 to 4 input channels onnxruntime copies every window before the multiplication. For 7×7 kernels this is so
    much slower than the float convolution that the whole net may not be faster; for 3×3 it is about equal.
    """
    channels = {weight.name: weight.dims[1] for weight in graph.initializer if len(weight.dims) == 4}
    found: list[Any] = []
    for node in graph.node:  # in the order in which they are computed
        first = node.op_type == "Conv" and channels.get(node.input[1], _IMAGE_CHANNELS + 1) <= _IMAGE_CHANNELS
        after = node.op_type in _FOLLOWING and maker.get(node.input[0]) in found
        found += [node] if first or after else []
    return found


def _block_before_pools(graph: Any, pools: list[Any]) -> None:
    """Keep onnxruntime from quantising before a pooling layer instead of after it.

    onnxruntime moves quantisation ahead of pooling, and 8-bit pooling is slow unless it directly follows a quantised
    convolution. It does not move quantisation past a Max node; one with the lowest float changes no value.
    """
    from onnx import helper, numpy_helper

    if pools:
        graph.initializer.append(numpy_helper.from_array(np.array(np.finfo(np.float32).min), "lowest"))
    for pool in pools:
        (output,) = pool.output
        pool.output[0] = f"{output}_pooled"
        stop = helper.make_node("Max", [pool.output[0], "lowest"], [output], f"{pool.name}_stop")
        graph.node.insert(list(graph.node).index(pool) + 1, stop)


def _grid_nodes(graph: Any, maker: dict[str, Any]) -> list[Any]:
    """The nodes that compute a spatial transformer's sampling grid: 256 levels are too coarse for coordinates."""
    found: dict[str, Any] = {}
    wanted = [node.input[1] for node in graph.node if node.op_type == "GridSample"]
    while wanted:
        value = wanted.pop()
        if value in maker and value not in found:
            found[value] = maker[value]
            wanted += maker[value].input
    return list(found.values())


@contextmanager
def _no_advice() -> Iterator[None]:
    """Suppress onnxruntime's own log messages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
