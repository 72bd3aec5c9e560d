"""A net is traced once for all formats that are written of it, and translated to ONNX once: seconds each time."""

import onnx
import pytest

from fecnet.export import int8
from fecnet.export import onnx as onnx_format
from fecnet.export.graph import Source


@pytest.fixture(scope="module")
def traced_once():
    """By the names of the nets, which must differ where the nets do."""
    graphs, protos = {}, {}
    trace, translate = Source.graph, onnx_format.onnx_graph

    def graph(source):
        key = source.name, source.raw
        if key not in graphs:
            graphs[key] = trace(source)
        return graphs[key]

    def onnx_graph(source):
        key = source.name, source.raw
        if key not in protos:
            protos[key] = translate(source).SerializeToString()  # the description is written into it later
        return onnx.load_from_string(protos[key])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Source, "graph", graph)
        for module in (onnx_format, int8):
            patched.setattr(module, "onnx_graph", onnx_graph)
        yield
