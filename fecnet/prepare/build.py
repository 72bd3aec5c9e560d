"""Data sets that need no raw data, by the name of their source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.utils.lookup import lookup

_SOURCES: dict[str, Callable[[Path], object]] = {"synthetic": prepare_synthetic}


def make_dataset(source: str, path: Path) -> None:
    """Write the packed data set of ``source`` to ``path``.

    Args:
        source: ``synthetic``.
        path: folder to create.

    Raises:
        UserError: an unknown source, or a folder that cannot be written.
    """
    lookup(_SOURCES, source, key="DATA.SOURCE")(path)
