"""What the writers and the readers of exported files share."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fecnet.utils.errors import UserError

INPUT = "image"  # name of the one input of an ONNX graph
META = "fecnet"  # where a file has what it says of itself: a checkpoint's meta.json and what became of the export


def first_line(error: BaseException) -> str:
    """What an error of torch or onnxruntime says, cut down to a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:300]


def import_or_tell(name: str, path: str | Path) -> Any:
    """A package of the extra ``export``.

    Args:
        name: of the module.
        path: what cannot be read or written without it.

    Raises:
        UserError: it is missing; told with how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{path}: ONNX needs {name}; install it with: pip install 'fecnet[export]'") from error
