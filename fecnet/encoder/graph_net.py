"""Runs the graph in a ``.pt2`` file of ``torch.export`` without ``torch.export.load``.

That function unpickles what the file asks it to, evaluates expressions in it and runs Python code made of it. Here the
graph is read as the JSON it is, weights as bytes, and only the operators of ``_OPERATORS`` are called: neither opening
nor running a file executes anything else. The layout is that of torch/_export/serde/schema.py, version 8.
"""

from __future__ import annotations

import json
import operator
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fecnet.encoder.exported_files import first_line
from fecnet.structures import Outputs
from fecnet.utils.errors import UserError

SCHEMA = 8
_MODEL, _WEIGHTS, _CONSTANTS = "models/model.json", "data/weights/", "data/constants/"
_EXTRA = "extra/"
_DTYPES = {1: torch.uint8, 4: torch.int32, 5: torch.int64, 7: torch.float32, 8: torch.float64, 12: torch.bool}
# what the nets of fecnet are made of; none reads a file, and none takes a place in memory from the graph
_ATEN = (
    *("_adaptive_avg_pool2d.default", "_native_batch_norm_legit_no_training.default", "_softmax.default"),
    *("_to_copy.default", "_upsample_bilinear2d_aa.default", "_upsample_bilinear2d_aa.vec"),
    *("adaptive_avg_pool2d.default", "add.Tensor", "arange.default", "avg_pool2d.default", "cat.default"),
    *("clamp_min.default", "clone.default", "contiguous.default", "conv2d.default", "div.Tensor", "exp.default"),
    *("expand.default", "flip.default", "grid_sampler.default", "hardtanh.default", "linalg_vector_norm.default"),
    *("linear.default", "log_sigmoid.default", "max_pool2d.default", "mean.dim", "mul.Tensor", "permute.default"),
    *("prelu.default", "relu.default", "select.int", "sigmoid.default", "slice.Tensor", "softmax.int"),
    *("sqrt.default", "square.default", "stack.default", "sub.Tensor", "sum.dim_IntList", "unsqueeze.default"),
    *("upsample_bilinear2d.vec", "view.default"),
)
_CHECKS = ("torch.ops.aten._assert_tensor_metadata.default",)  # of what the graph was made with; nothing is computed
_OPERATORS: dict[str, Callable[..., Any]] = {
    "torch.ops.aten.sym_size.int": lambda image, dim: image.shape[dim],
    "_operator.mul": operator.mul,
    "_operator.floordiv": operator.floordiv,
    **{
        f"torch.ops.aten.{name}": getattr(getattr(torch.ops.aten, name.split(".")[0]), name.split(".")[1])
        for name in _ATEN
    },
}

_Json = dict[str, Any]


class GraphNet:
    """A graph with its weights; calling it maps images to outputs.

    Args:
        path: the file.
        device: where to run.

    Attributes:
        extra: further files in it, as text, by name.

    Raises:
        UserError: no such file, damaged, of another layout, or with an operator that is not called here.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._device = device
        try:
            with zipfile.ZipFile(path) as archive:
                files = {name.split("/", 1)[-1]: name for name in archive.namelist()}
                self.extra = {
                    name.removeprefix(_EXTRA): archive.read(files[name]).decode()
                    for name in files
                    if name.startswith(_EXTRA)
                }
                model = json.loads(archive.read(files[_MODEL]))
                _check_schema(model)
                held = {
                    **_read_tensors(archive, files, _WEIGHTS, "model_weights_config.json"),
                    **_read_tensors(archive, files, _CONSTANTS, "model_constants_config.json"),
                }
            self._read_graph(model["graph_module"], held)
        except (OSError, KeyError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: damaged, or not a file of torch.export: {first_line(error)}") from error
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error

    def __call__(self, image: Tensor) -> Outputs:
        """Outputs of a batch of images, as the graph wants them, on its device."""
        values: dict[str, Any] = {**self._weights, self._input: image}
        for call, arguments, names, done in self._steps:
            found = call(*(_value(argument, values, self._device) for argument in arguments))
            values.update(zip(names, found if len(names) > 1 else (found,), strict=True))
            for name in done:  # activations of a whole net would not fit into memory
                del values[name]
        return {name: values[value] for name, value in self._outputs.items()}

    def _read_graph(self, module: _Json, held: Mapping[str, Tensor]) -> None:
        graph, signature = module["graph"], module["signature"]
        self._weights: dict[str, Tensor] = {}
        for spec in signature["input_specs"]:
            ((kind, value),) = spec.items()
            if kind == "user_input":
                self._input = str(value["arg"]["as_tensor"]["name"])
            else:
                self._weights[value["arg"]["name"]] = held[value[_NAMES[kind]]].to(self._device)
        given = [spec["user_output"]["arg"]["as_tensor"]["name"] for spec in signature["output_specs"]]
        names = json.loads(json.loads(module["module_call_graph"][0]["signature"]["out_spec"])[1]["context"])
        self._outputs = dict(zip(names, given, strict=True))
        nodes = [node for node in graph["nodes"] if node["target"] not in _CHECKS]
        keep = {*self._outputs.values(), *self._weights, self._input}
        self._steps = []
        for node, done in zip(nodes, _last_uses(nodes, keep), strict=True):
            if node["target"] not in _OPERATORS:
                allowed = "one of those that fecnet's nets are made of (fecnet/encoder/graph_net.py)"
                raise UserError(f"operator {node['target']!r} is not called; allowed: {allowed}")
            call, arguments = _bound(_OPERATORS[node["target"]], node["inputs"])
            self._steps.append((call, arguments, _output_names(node), done))


_NAMES = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}


def _check_schema(model: _Json) -> None:
    found = model["schema_version"]["major"]
    if found != SCHEMA:
        raise UserError(f"torch.export schema {found!r}; this version reads {SCHEMA}")


def _read_tensors(archive: zipfile.ZipFile, files: Mapping[str, str], folder: str, config: str) -> dict[str, Tensor]:
    """The tensors of a folder of the archive, by name; those that are pickles are refused."""
    found = {}
    for name, payload in json.loads(archive.read(files[folder + config]))["config"].items():
        if payload["use_pickle"] or payload["tensor_meta"] is None:
            raise UserError(f"{name!r} is a pickle; not loaded, since it may be unsafe")
        meta = payload["tensor_meta"]
        sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
        content = bytearray(archive.read(files[folder + payload["path_name"]]))
        flat = torch.frombuffer(content, dtype=_DTYPES[meta["dtype"]]) if content else torch.empty(0)
        found[name] = flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"])  # which checks the bounds
    return found


def _bound(call: Callable[..., Any], inputs: list[_Json]) -> tuple[Callable[..., Any], list[_Json]]:
    """The operator as a function of its arguments in the order in which they stand."""
    keywords = [entry["name"] if entry["kind"] == 2 else None for entry in inputs]
    arguments = [entry["arg"] for entry in inputs]
    for kind in (kind for argument in arguments for kind in argument):
        if kind not in _VALUES:
            raise UserError(f"argument of kind {kind!r}; allowed: {', '.join(sorted(_VALUES))}")

    def bound(*values: Any) -> Any:
        pairs = list(zip(keywords, values, strict=True))
        return call(*(value for name, value in pairs if name is None), **{n: value for n, value in pairs if n})

    return bound, arguments


def _value(argument: _Json, values: Mapping[str, Any], device: torch.device) -> Any:
    """What an argument stands for."""
    ((kind, held),) = argument.items()
    return _VALUES[kind](held, values, device)


def _size(held: _Json, values: Mapping[str, Any]) -> int:
    return int(values[held["as_name"]] if "as_name" in held else held["as_int"])


_VALUES: dict[str, Callable[[Any, Mapping[str, Any], torch.device], Any]] = {
    **dict.fromkeys(("as_int", "as_ints", "as_float", "as_floats", "as_bool"), lambda held, values, device: held),
    "as_none": lambda held, values, device: None,
    "as_tensor": lambda held, values, device: values[held["name"]],
    "as_tensors": lambda held, values, device: [values[each["name"]] for each in held],
    "as_sym_int": lambda held, values, device: _size(held, values),
    "as_sym_ints": lambda held, values, device: [_size(each, values) for each in held],
    "as_scalar_type": lambda held, values, device: _DTYPES[held],
    "as_device": lambda held, values, device: device,  # not where the graph was made
    "as_layout": lambda held, values, device: torch.strided,
    "as_memory_format": lambda held, values, device: torch.contiguous_format,
}


def _output_names(node: _Json) -> list[str]:
    ((kind, held),) = node["outputs"][0].items()
    if len(node["outputs"]) == 1 and kind == "as_sym_int":
        return [held["as_name"]]
    return [output["as_tensor"]["name"] for output in node["outputs"]]


def _last_uses(nodes: list[_Json], keep: set[str]) -> list[list[str]]:
    """Of each node, the values that no later one reads, and those of its own that none reads."""
    seen, done = set(keep), []
    for node in reversed(nodes):
        names = {*_output_names(node), *(name for entry in node["inputs"] for name in _read_by(entry["arg"]))}
        done.append(sorted(names - seen))
        seen |= names
    return done[::-1]


def _read_by(argument: _Json) -> list[str]:
    """The values that an argument names."""
    ((kind, held),) = argument.items()
    if kind in ("as_tensor", "as_tensors"):
        return [each["name"] for each in (held if kind == "as_tensors" else [held])]
    if kind in ("as_sym_int", "as_sym_ints"):
        return [each["as_name"] for each in (held if kind == "as_sym_ints" else [held]) if "as_name" in each]
    return []
