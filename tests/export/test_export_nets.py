"""The graphs of all kinds of nets, run by ONNX and by torch, against the nets themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from fecnet.config.node import load_config
from fecnet.data.views import center
from fecnet.encoder.onnx_net import OnnxNet
from fecnet.engine.predict import predict_batch
from fecnet.export import graph
from fecnet.export.check import TOLERANCE, TOLERANCE_INSIDE
from fecnet.export.graph import Source
from fecnet.export.int8 import make_int8
from fecnet.export.onnx import make_onnx
from fecnet.export.program import make_program
from fecnet.modeling.backbone.registry import BACKBONES, _iresnet
from fecnet.modeling.build import build_model
from tests.checkpoints import describe

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra 'export' is not installed")
from tests.traced_once import traced_once  # noqa: E402, F401  (a fixture)

pytestmark = pytest.mark.usefixtures("traced_once")
CPU = torch.device("cpu")
INFO = describe()  # any: it is written beside the graph
SMALL = ["MODEL.BACKBONE", "resnet18", "MODEL.WIDTH_MULT", "0.125", "MODEL.BLOCKS", "[1]"]
PRUNED = ["MODEL.BACKBONE", "vgg16", "MODEL.LAYER_CHANNELS", str([4, 3] * 6 + [5, 6])]
NETS = {  # options, side of the image
    "dense block, joint": ([*SMALL, "MODEL.NECK_CHANNELS", "16", "MODEL.HEAD", "joint", "MODEL.FEATURE_DIM", "16"], 48),
    "ran and scn, cifar": ([*SMALL, "MODEL.STEM", "cifar", "MODEL.NECK", "none", "MODEL.HEAD", "scn_ran"], 48),
    "pruned, affect": ([*PRUNED, "MODEL.NECK", "conv3x3", "MODEL.HEAD", "classifier_affect"], 48),
    "two branches": ([*SMALL, "MODEL.HEAD", "deviation", "MODEL.PROJECTION_ORDER", "3", "MODEL.NECK", "none"], 48),
    "iresnet": (["MODEL.BACKBONE", "iresnet18", "MODEL.NECK", "none", "DATA.INPUT_SIZE", "48"], 48),
    "inception_nn2": (["MODEL.BACKBONE", "inception_nn2", "MODEL.BATCH_NORM", "false", "MODEL.NECK", "conv1x1"], 64),
    "spatial transformer": (
        ["MODEL.BACKBONE", "deep_emotion", "MODEL.NECK", "none", "MODEL.HEAD", "classifier"],
        48,
    ),
}


def source(name, *, raw=False):
    """A net with statistics and a transformer that are not at their start, and what is exported of it."""
    options, size = NETS[name]
    torch.manual_seed(0)
    net = build_model(load_config(None, options), 1, 8).eval()
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(layer.running_mean, -0.3, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    if name == "spatial transformer":
        nn.init.normal_(net.backbone.fc_loc[2].weight, std=0.05)
    shape = (size + 6, size + 6, 1)
    calibration = np.random.default_rng(1).integers(0, 256, (16, *shape), np.uint8)
    return Source(net, center(size, 0.9), shape, raw, name, None, calibration)


@pytest.mark.parametrize("name", NETS)
def test_graphs_are_the_net(name, tmp_path, monkeypatch):
    monkeypatch.setitem(BACKBONES, "iresnet18", _iresnet((1, 1, 1, 1)))  # all its kinds of layers
    made = source(name)
    one = torch.zeros(1, 1, *made.face_shape[:2])
    faces = np.random.default_rng(0).integers(0, 256, (5, *made.face_shape), np.uint8)
    expected = predict_batch(made.model, faces, views=made.views, device=CPU)
    make_program(made)(tmp_path / "net.pt2", INFO)
    make_onnx(made)(tmp_path / "net.onnx", INFO)
    for net in (torch.export.load(tmp_path / "net.pt2").module(), OnnxNet(tmp_path / "net.onnx")):
        found = predict_batch(net, faces, views=made.views, device=CPU)
        assert found.keys() == expected.keys()
        for output, value in expected.items():
            scale = max(1.0, float(value.abs().max()))
            allowed = TOLERANCE if output in ("embedding", "logits") else TOLERANCE_INSIDE
            assert float((found[output] - value).abs().max()) <= allowed * scale, output
        assert all(len(value) == 1 for value in net(made.views[0](one)).values())


def int8_nodes(name, tmp_path):
    """The nodes of the int8 file of a net, the kinds of nodes that each reads from, and its convolutions and layers."""
    import onnx

    make_int8(source(name))(tmp_path / "net.onnx", INFO)
    nodes = onnx.load(tmp_path / "net.onnx").graph.node
    maker = {output: node for node in nodes for output in node.output}
    reads = {node.name: {maker[name].op_type for name in node.input if name in maker} for node in nodes}
    return nodes, reads, [node.name for node in nodes if node.op_type in ("Conv", "Gemm")]


def test_where_to_look_stays_in_float(tmp_path, monkeypatch):
    """256 levels name no place in a face: what makes the grid of a spatial transformer is not quantised.

    The batches of the calibration differ in size, which only one of its methods allows.
    """
    from onnxruntime import quantization

    monkeypatch.setattr(graph, "_BATCH", 6)
    asked, quantize = [], quantization.quantize_static
    spy = lambda *_, **options: asked.append(options["calibrate_method"]) or quantize(*_, **options)  # noqa: E731
    monkeypatch.setattr(quantization, "quantize_static", spy)
    assert [len(batch) for batch in source("spatial transformer").calibration()] == [6, 6, 4]
    _, reads, layers = int8_nodes("spatial transformer", tmp_path)
    assert asked == [quantization.CalibrationMethod.MinMax]
    # 2 convolutions and 2 linear layers look, 4 and 2 see; of these the first sees the image
    assert len(layers) == 10 and sum("DequantizeLinear" in reads[name] for name in layers) == 5


def test_what_sees_the_image_stays_in_float_and_apart(tmp_path):
    """In 8 bits a convolution of one channel, and a pool behind one in float, are slow."""
    nodes, reads, layers = int8_nodes("dense block, joint", tmp_path)
    assert "DequantizeLinear" not in reads[layers[0]]
    assert all("DequantizeLinear" in reads[name] for name in layers[1:])
    (pool,) = (node for node in nodes if node.op_type == "MaxPool")
    assert "DequantizeLinear" not in reads[pool.name]
    assert [node.op_type for node in nodes if pool.output[0] in node.input] == ["Max"]
    made = source("dense block, joint")
    faces = np.random.default_rng(0).integers(0, 256, (5, *made.face_shape), np.uint8)
    expected = predict_batch(made.model, faces, views=made.views, device=CPU)["embedding"]
    found = predict_batch(OnnxNet(tmp_path / "net.onnx"), faces, views=made.views, device=CPU)["embedding"]
    assert 1e-4 < float((found - expected).abs().max()) < 0.2


def test_an_operator_without_a_translation_is_one_line():
    class Odd(nn.Module):
        def forward(self, image):
            return {"feature": torch.linalg.eigvals(image[:, 0]).real}

    made = source("pruned, affect")
    odd = Source(Odd(), made.views, made.face_shape, False, "odd", None)
    with pytest.raises(ValueError, match="linalg_eig") as caught:
        make_onnx(odd)
    assert "\n" not in str(caught.value)


def test_a_net_that_no_graph_can_hold_is_one_line():
    class Branching(nn.Module):
        def forward(self, image):
            return {"feature": image if image.mean() > 0 else -image}

    made = source("pruned, affect")
    with pytest.raises(ValueError, match="net: cannot be written as a graph: ") as caught:
        make_program(Source(Branching(), made.views, made.face_shape, False, "net", None))
    assert "\n" not in str(caught.value)
