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

# Most of the time goes here. Norms, roots and softmax stay in float.
_FOLLOWING = ("Relu", "Clip", "PRelu", "MaxPool")
_IMAGE_CHANNELS = 4
_QUANTISED = ["Conv", "Gemm", "MatMul", "Relu", "Clip", "Add", "Concat", "MaxPool", "AveragePool"]


def make_int8(source: Source) -> Save:
    """The graph of the net, quantised by what it says to the faces for calibration, to be written as ``.onnx``.

    Static: the range of every activation is that of these faces. Weights have a scale for each output channel, and 7
    bits: with 8, CPUs without VNNI instructions add up products to more than 16 bits hold, and cut them off.

    Raises:
        UserError: a package is missing, or the net has an operator that ONNX has not.
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
            in_float = _left_in_float(proto.graph)
            quantization.quantize_static(
                proto,
                done,
                _Faces(source.calibration()),
                quant_format=quantization.QuantFormat.QDQ,
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
    """What onnxruntime asks for the next batch for calibration."""

    def __init__(self, batches: Iterator[np.ndarray]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _left_in_float(graph: Any) -> list[str]:
    """Names of the nodes that are not quantised: those that look at the image, and those that decide where to look."""
    maker = {output: node for node in graph.node for output in node.output}
    seeing = _seeing_the_image(graph, maker)
    left = {node.name for node in (*seeing, *_making_the_grid(graph, maker))}
    _stop_before_pools(graph, [node for node in seeing if node.op_type == "MaxPool"])
    return sorted(left)


def _seeing_the_image(graph: Any, maker: dict[str, Any]) -> list[Any]:
    """The first convolution, and what follows it up to the next one.

    Over 1 to 4 channels onnxruntime gathers every window before it multiplies. For 7×7 that takes longer than the
    convolution in float, so much that the whole net may not be faster; for 3×3 about as long.
    """
    channels = {weight.name: weight.dims[1] for weight in graph.initializer if len(weight.dims) == 4}
    found: list[Any] = []
    for node in graph.node:  # in the order in which they are computed
        first = node.op_type == "Conv" and channels.get(node.input[1], _IMAGE_CHANNELS + 1) <= _IMAGE_CHANNELS
        after = node.op_type in _FOLLOWING and maker.get(node.input[0]) in found
        found += [node] if first or after else []
    return found


def _stop_before_pools(graph: Any, pools: list[Any]) -> None:
    """Keep onnxruntime from quantising before a pool instead of behind it.

    It moves that step up past a pool, and a pool of 8-bit numbers is slow unless a quantised convolution is right
    before it. It does not move past a maximum, here with the lowest number there is, which changes nothing.
    """
    from onnx import helper, numpy_helper

    if pools:
        graph.initializer.append(numpy_helper.from_array(np.array(np.finfo(np.float32).min), "lowest"))
    for pool in pools:
        (output,) = pool.output
        pool.output[0] = f"{output}_pooled"
        stop = helper.make_node("Max", [pool.output[0], "lowest"], [output], f"{pool.name}_stop")
        graph.node.insert(list(graph.node).index(pool) + 1, stop)


def _making_the_grid(graph: Any, maker: dict[str, Any]) -> list[Any]:
    """What a spatial transformer has its grid from: 256 levels are too few to name a place in a face."""
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
    """Keep what onnxruntime logs about its own steps from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
