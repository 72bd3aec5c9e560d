"""Shared by the writers and the readers of exported files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fecnet.utils.errors import UserError

INPUT = "image"  # name of the one input of an ONNX graph
META = "fecnet"  # metadata key of the description: a checkpoint's meta.json and the export's checks


def first_line(error: BaseException) -> str:
    """The message of an error of torch or onnxruntime, as one short line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:300]


def import_or_tell(name: str, path: str | Path) -> Any:
    """Import a package of the extra ``export``.

    Args:
        name: name of the module.
        path: the file that needs it, for the error message.

    Raises:
        UserError: the package is missing; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{path}: ONNX needs {name}; install it with: pip install 'fecnet[export]'") from error
