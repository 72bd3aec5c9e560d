"""A data set that needs no raw material, by the name of its source."""

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
        path: folder to make.

    Raises:
        UserError: an unknown source, or a folder that cannot be written.
    """
    lookup(_SOURCES, source, key="DATA.SOURCE")(path)
