"""A net as one graph of torch's operators, for ONNX and ``torch.export`` files.

Shape suffixes: N faces, H, W, C height, width and channels of stored faces, V views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import ExportedProgram

from fecnet.encoder.exported_files import first_line
from fecnet.engine.description import CheckpointInfo
from fecnet.engine.predict import View
from fecnet.faces.quiet import quiet
from fecnet.structures import Outputs
from fecnet.utils.errors import UserError

_BATCH = 64  # faces per batch of calibration

Save = Callable[[Path, CheckpointInfo], None]  # writes a net and its description to a path


@dataclass(frozen=True)
class Source:
    """The net to export.

    Attributes:
        model: the net, in evaluation mode, on the CPU.
        views: see ``FaceNet``.
        face_shape: shape of a stored face: height, width, channels.
        raw: the graph takes stored faces, uint8 (N, H, W, C); else a view of them, float (N, C, S, S).
        name: the checkpoint, for error messages.
        files: folder of the checkpoint, with ``model.safetensors``.
        calibration_NHWC: stored training faces, uint8; only for int8.
    """

    model: nn.Module
    views: Sequence[View]
    face_shape: tuple[int, int, int]
    raw: bool
    name: str
    files: Path
    calibration_NHWC: np.ndarray | None = None

    def graph(self) -> ExportedProgram:
        """The net as a graph.

        Raises:
            UserError: it cannot be exported as a graph.
        """
        net = StoredFaces(self.model, self.views) if self.raw else self.model
        try:
            return export_graph(net, self.graph_input(self.blank(2)))
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error

    def blank(self, num: int) -> np.ndarray:
        """Blank stored faces, for tracing."""
        return np.zeros((num, *self.face_shape), np.uint8)

    def graph_input(self, faces_NHWC: np.ndarray) -> Tensor:
        """The graph's input for stored faces: the first of the views, or the faces themselves with ``raw``."""
        image = torch.from_numpy(faces_NHWC)
        return image if self.raw else self.views[0](image.permute(0, 3, 1, 2)).contiguous()

    def calibration(self) -> Iterator[np.ndarray]:
        """The graph's input for the calibration faces, a batch at a time."""
        assert self.calibration_NHWC is not None
        for first in range(0, len(self.calibration_NHWC), _BATCH):
            yield self.graph_input(np.ascontiguousarray(self.calibration_NHWC[first : first + _BATCH])).numpy()


class StoredFaces(nn.Module):
    """A net with its preprocessing: its input are faces as stored in a packed set.

    Args:
        model: maps images to outputs.
        views: each maps stored images, uint8 (N, C, H, W), to the net's input; outputs are averaged over the views.
    """

    def __init__(self, model: nn.Module, views: Sequence[View]) -> None:
        super().__init__()
        self.model, self.views = model, list(views)

    def forward(self, image: Tensor) -> Outputs:
        """Outputs of faces, uint8, shape (N, H, W, C); see ``engine.predict.average_views``."""
        image_NCHW = image.permute(0, 3, 1, 2).contiguous()
        # all views in one pass: a pass for each would repeat the whole net in the graph
        outputs: Outputs = self.model(torch.cat([view(image_NCHW) for view in self.views]))
        if len(self.views) == 1:
            return outputs
        outputs = {name: value.unflatten(0, (len(self.views), -1)).mean(0) for name, value in outputs.items()}
        if "embedding" in outputs:
            outputs["embedding"] = F.normalize(outputs["embedding"], dim=1)
        return outputs


def export_graph(model: nn.Module, image: Tensor) -> ExportedProgram:
    """The graph of a net in evaluation mode, for any number of faces.

    Args:
        model: maps one tensor to outputs by name.
        image: an input of two faces, on the CPU.

    Raises:
        UserError: the net cannot be exported as a graph.
    """
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, (image,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
            program = program.run_decompositions(_DECOMPOSED)
    except Exception as error:  # torch.export raises many types
        raise UserError(f"cannot be written as a graph: {first_line(error)}") from error
    for node in program.graph.nodes:  # stack traces with this machine's paths
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(key, None)
    return program


def _avg_pool2d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """``divisor_override`` of average pooling, which the ONNX exporter of torch 2.15 ignores."""
    if divisor_override is None:
        return NotImplemented  # unchanged
    mean = torch.ops.aten.avg_pool2d.default(x, kernel_size, stride, padding, ceil_mode, True)
    return mean * (math.prod(kernel_size) / divisor_override)


_DECOMPOSED: dict[Any, Callable[..., Any]] = {torch.ops.aten.avg_pool2d.default: _avg_pool2d}
