"""Rewrites a net for inference on a CPU: folded batch norms, ReLUs fused with convolutions, channels-last memory.

torch.fx traces the net, or those of its parts that can be traced, and the graphs are rewritten. Layers that are not
recognised are kept. The original model is not changed: layers that compute differently are new ones.
"""

from __future__ import annotations

import copy
from collections import Counter
from inspect import signature
from operator import attrgetter
from typing import Any, NamedTuple, TypeGuard, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fecnet.layers.inference import FusedConv, PooledConv, SteadyLinear
from fecnet.layers.small_maps import Conv3x3
from fecnet.modeling.backbone.resnet import NarrowShortcut

Module = TypeVar("Module")

_CONVOLUTIONS = (nn.Conv2d, Conv3x3, NarrowShortcut)  # another subclass may compute something else
_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d)  # layers that change nothing in evaluation mode
_FEW_CHANNELS = 4  # maximum number of channels of an image
_CLIPS: dict[Any, tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    F.relu: ("relu", []),
    torch.relu: ("relu", []),
}


def for_inference(model: Module) -> Module:
    """The fastest form of a net for inference on a CPU; its outputs differ only by rounding, about 1e-7.

    Args:
        model: in evaluation mode; it is not changed.

    Returns:
        A net for calls without gradients, valid until the weights of ``model`` change. ``model`` itself where it is not
        a module with float32 weights on a CPU, or torch was built without oneDNN.
    """
    if not isinstance(model, nn.Module) or not torch.backends.mkldnn.is_available():
        return model
    if any(weight.dtype != torch.float32 or weight.device.type != "cpu" for weight in model.parameters()):
        return model
    if not any(isinstance(layer, nn.Conv2d) for layer in model.modules()):
        return model
    return cast(Module, _rewritten(model))


def _rewritten(module: nn.Module) -> nn.Module:
    """The module with a rewritten graph; where it cannot be traced as a whole, its children are rewritten instead."""
    if (layer := _replacement(module)) is not module or not module._modules:
        return layer
    tracer = _Tracer()
    try:
        graph = tracer.trace(module)
    except Exception:  # tracing runs arbitrary code of modules with proxies instead of tensors
        parted = copy.copy(module)
        parted._modules = {name: child and _rewritten(child) for name, child in module._modules.items()}
        return parted
    finally:
        vars(tracer).clear()  # a reference cycle would keep the module's weights until the next garbage collection
    return _Rewriter(fx.GraphModule(module, graph)).run()


def _replacement(layer: nn.Module) -> nn.Module:
    """The fast form of a single layer; the layer itself where it has none."""
    if is_plain_convolution(layer):
        return FusedConv(layer, layer.weight, layer.bias)
    return SteadyLinear(layer) if type(layer) is nn.Linear else layer


def is_plain_convolution(layer: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether a layer computes what ``nn.Conv2d`` does with zeros around the map."""
    if not isinstance(layer, nn.Conv2d) or type(layer) not in _CONVOLUTIONS:
        return False
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


class _Tracer(fx.Tracer):
    """Keeps convolutions whole, of our own classes too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


class _Norm(NamedTuple):
    """A batch norm: statistics, epsilon, scale and shift."""

    mean: Tensor
    variance: Tensor
    eps: float
    scale: Tensor | None
    shift: Tensor | None


class _Rewriter:
    """Rewrites the graph of a module in evaluation mode.

    Args:
        net: shares its layers with the module.
    """

    def __init__(self, net: fx.GraphModule) -> None:
        self._net = net
        self._calls = Counter(node.target for node in net.graph.nodes if node.op == "call_module")

    def run(self) -> fx.GraphModule:
        """The rewritten net."""
        for step in (self._skip, self._fold, self._replace, self._clip, self._pool):
            for node in list(self._net.graph.nodes):
                step(node)
        self._net.delete_all_unused_submodules()
        self._net.recompile()
        return self._net.eval()

    def _layer(self, node: fx.Node) -> nn.Module | None:
        return self._net.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _skip(self, node: fx.Node) -> None:
        """Remove nodes that change nothing, since they would separate layers that can be fused."""
        if type(self._layer(node)) in _IDENTITIES:
            self._take_out(node)
        elif node.target is torch._assert or (node.target is getattr and not node.users):
            self._erase(node)

    def _erase(self, node: fx.Node) -> None:
        """Remove a check of shapes and the nodes that only it reads."""
        inputs = node.all_input_nodes
        self._net.graph.erase_node(node)
        for before in inputs:
            if before.op == "call_function" and not before.users:
                self._erase(before)

    def _fold(self, node: fx.Node) -> None:
        """Fold a batch norm into the convolution before it."""
        norm, before = self._norm(node), self._before(node)
        if norm is None or before is None or not is_plain_convolution(conv := self._layer(before)):
            return
        weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, *norm)
        self._net.set_submodule(str(before.target), FusedConv(conv, weight, bias))
        self._take_out(node)

    def _replace(self, node: fx.Node) -> None:
        """Replace a single layer by its fast form."""
        if (layer := self._layer(node)) is not None:
            self._net.set_submodule(str(node.target), _replacement(layer))

    def _clip(self, node: fx.Node) -> None:
        """Fuse a ReLU into the convolution before it."""
        clip = _CLIPS.get(type(self._layer(node)) if node.op == "call_module" else node.target)
        before = self._before(node)
        if clip is None or before is None or not isinstance(conv := self._layer(before), FusedConv):
            return
        conv.clip = clip
        self._take_out(node)

    def _pool(self, node: fx.Node) -> None:
        """Fuse the convolution of the image with the pooling after it."""
        pool, before = self._layer(node), self._before(node)
        if before is None or type(pool) is not nn.MaxPool2d or not isinstance(conv := self._layer(before), FusedConv):
            return
        if conv.in_channels <= _FEW_CHANNELS:
            self._net.set_submodule(str(before.target), PooledConv(conv, pool))
            self._take_out(node)

    def _before(self, node: fx.Node) -> fx.Node | None:
        """The node of the layer whose output this node reads, if no other node does and the layer is called once."""
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            return None
        return before if self._calls[before.target] == 1 else None

    def _norm(self, node: fx.Node) -> _Norm | None:
        """The batch norm of a node: a layer, or torch's function, which timm calls; None for other nodes."""
        layer = self._layer(node)
        if type(layer) is nn.BatchNorm2d and not layer.training and layer.running_mean is not None:
            assert layer.running_var is not None
            return _Norm(layer.running_mean, layer.running_var, layer.eps, layer.weight, layer.bias)
        if node.target is not F.batch_norm:
            return None
        given = signature(F.batch_norm).bind(*node.args, **node.kwargs).arguments
        names = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (self._value(given.get(name)) for name in names)
        if mean is None or variance is None or given.get("training"):
            return None
        return _Norm(mean, variance, given["eps"], scale, shift)

    def _value(self, argument: Any) -> Tensor | None:
        """The weights that an argument of a function refers to."""
        named = isinstance(argument, fx.Node) and argument.op == "get_attr"
        return attrgetter(str(argument.target))(self._net) if named else None

    def _take_out(self, node: fx.Node) -> None:
        """Remove a node: its readers get its input instead."""
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        self._net.graph.erase_node(node)
