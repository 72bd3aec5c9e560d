"""Reads the weights of TensorFlow.js models, and runs graphs of them in torch, where a few operations suffice."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.opponents.package import Absent

Node = Mapping[str, Any]


def read_weights(folder: Path, manifest: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The tensors of a manifest of weights, one after the other in its files; quantized ones as numbers again."""
    found = {}
    for group in manifest:
        data, place = b"".join((folder / path).read_bytes() for path in group["paths"]), 0
        for weight in group["weights"]:
            packed = weight.get("quantization", {})
            kind = np.dtype(packed.get("dtype", weight["dtype"]))
            value = np.frombuffer(data, kind, prod(weight["shape"]), place).reshape(weight["shape"])
            place += value.nbytes
            scaled = value * np.float32(packed["scale"]) + np.float32(packed["min"]) if packed else value
            found[weight["name"]] = scaled
    return found


def graph_model(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The last node of a graph for inputs (N, H, W, C), float32.

    Raises:
        Absent: the graph has an operation that is not known here.
    """
    graph = json.loads(file.read_text(encoding="utf-8"))
    weights = {
        name: torch.from_numpy(np.array(value))
        for name, value in read_weights(file.parent, graph["weightsManifest"]).items()
    }
    nodes = [node for node in graph["modelTopology"]["node"] if node["op"] not in ("Const", "Placeholder")]
    given = [node["name"] for node in graph["modelTopology"]["node"] if node["op"] == "Placeholder"]
    unknown = sorted({node["op"] for node in nodes} - set(_OPERATIONS))
    if unknown:
        raise Absent(f"{file.name}: operations {', '.join(unknown)} are not known here")

    @torch.inference_mode()
    def answer(input_NHWC: np.ndarray) -> np.ndarray:
        values = weights | {given[0]: torch.from_numpy(input_NHWC).float().permute(0, 3, 1, 2)}
        for node in nodes:
            values[node["name"]] = _OPERATIONS[node["op"]](node, [values[name] for name in node["input"]])
        return values[nodes[-1]["name"]].numpy()

    return answer


def same_padding(image_NCHW: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's padding ``SAME``: what is left over goes to the right and below."""
    sides = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in image_NCHW.shape[:1:-1]]
    edges = [edge for whole in sides for edge in (whole // 2, whole - whole // 2)]
    return functional.pad(image_NCHW, edges, value=value)


def convolution(image_NCHW: Tensor, filters_HWIO: Tensor, stride: int, *, same: bool) -> Tensor:
    """``conv2d``."""
    padded = same_padding(image_NCHW, filters_HWIO.shape[0], stride) if same else image_NCHW
    return functional.conv2d(padded, filters_HWIO.permute(3, 2, 0, 1), stride=stride)


def depthwise(image_NCHW: Tensor, filters_HWC1: Tensor, stride: int) -> Tensor:
    """``depthwiseConv2d`` with padding ``SAME``."""
    padded = same_padding(image_NCHW, filters_HWC1.shape[0], stride)
    return functional.conv2d(padded, filters_HWC1.permute(2, 3, 0, 1), stride=stride, groups=filters_HWC1.shape[2])


def _attribute(node: Node, name: str) -> Any:
    """The padding as a word, else the number of rows of a stride or window, or a list of words."""
    held = node["attr"][name]
    if "s" in held:
        return base64.b64decode(held["s"]).decode()
    listed = held["list"]
    return [base64.b64decode(word).decode() for word in listed["s"]] if "s" in listed else int(listed["i"][1])


def _fused_convolution(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    image, filters, bias = inputs
    same = _attribute(node, "padding") == "SAME"
    found = convolution(image, filters, _attribute(node, "strides"), same=same) + bias[:, None, None]
    return found.relu() if "Relu" in _attribute(node, "fused_ops") else found


def _max_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    window, stride = _attribute(node, "ksize"), _attribute(node, "strides")
    return functional.max_pool2d(same_padding(inputs[0], window, stride, -torch.inf), window, stride)


_OPERATIONS: dict[str, Callable[[Node, Sequence[Tensor]], Tensor]] = {
    "_FusedConv2D": _fused_convolution,
    "DepthwiseConv2dNative": lambda node, inputs: depthwise(inputs[0], inputs[1], _attribute(node, "strides")),
    "MaxPool": _max_pool,
    "AddV2": lambda _, inputs: inputs[0] + inputs[1],
    "Relu": lambda _, inputs: inputs[0].relu(),
    "Mean": lambda _, inputs: inputs[0].mean((2, 3)),
    "Softmax": lambda _, inputs: inputs[0].softmax(1),
    "Identity": lambda _, inputs: inputs[0],
}
