"""Runs an exported ``.onnx`` file with onnxruntime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fecnet.encoder.exported_files import INPUT, first_line, import_or_tell
from fecnet.structures import Outputs
from fecnet.utils.errors import CheckpointError


class OnnxNet:
    """An ONNX graph; calling it maps images to outputs, in any number of threads at once.

    Uses as many threads as torch would (``OMP_NUM_THREADS``). The file is passed as bytes, so that it cannot refer to
    external files.

    Args:
        path: the file.

    Attributes:
        extra: metadata in the file, text by name.

    Raises:
        CheckpointError: onnxruntime is missing, or the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        onnxruntime = import_or_tell("onnxruntime", path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # only errors, which are also raised
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
            extra: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except Exception as error:  # onnxruntime's errors share no base class
            raise CheckpointError(f"{path}: not an ONNX file that onnxruntime reads: {first_line(error)}") from error
        self.extra = extra
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, image: Tensor) -> Outputs:
        """Outputs for a batch of images in the graph's input format, on the CPU.

        Raises:
            CheckpointError: the graph cannot process these images.
        """
        try:
            found = self._session.run(self._names, {INPUT: image.contiguous().numpy()})
        except Exception as error:  # onnxruntime's errors share no base class
            raise CheckpointError(f"{self._path}: its graph fails: {first_line(error)}") from error
        return {name: torch.from_numpy(value) for name, value in zip(self._names, found, strict=True)}
