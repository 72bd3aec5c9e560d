"""Matplotlib figures; matplotlib is an optional dependency, imported here only."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fecnet.utils.errors import UserError
from fecnet.utils.files import replace_bytes

INSTALL = "need matplotlib; install it with: pip install 'fecnet[viz]'"
_DPI = 110


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """Raise UserError unless matplotlib is installed."""
    if not can_plot():
        raise UserError(f"plots {INSTALL}")


def new_figure(width: float, height: float, **layout: Any) -> tuple[Any, Any]:
    """A figure without a window (Agg backend), and its axes.

    Args:
        width: inches.
        height: inches.
        layout: arguments of ``Figure.subplots``.

    Raises:
        UserError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.subplots(**layout)


def save_figure(figure: Any, path: Path) -> None:
    """Write the figure as PNG, atomically; creates the folder where it is absent."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")  # a figure without a window is rendered by Agg
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, buffer.getbuffer())
