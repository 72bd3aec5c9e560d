"""The folder of intermediate results: records its source files, so that work is not resumed with other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fecnet.utils.errors import DataError
from fecnet.utils.files import replace_json
from fecnet.utils.shown import shown


def check_sources(work: Path, hashes: Mapping[str, str], files: Mapping[str, Path]) -> None:
    """Record the sources of this folder, or check that they are the recorded ones.

    Args:
        work: the folder.
        hashes: sha256 of the source by split.
        files: path of the source by split, for error messages.

    Raises:
        DataError: a source has changed, or others are given.
    """
    noted = work / "sources.json"
    if not noted.exists():
        replace_json(noted, dict(hashes))
        return
    try:
        before = json.loads(noted.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{noted}: unreadable: {error}; remove it to start again") from error
    if not isinstance(before, dict):
        raise DataError(f"{noted}: holds {shown(before)}, expected a mapping; remove it to start again")
    for split, found in hashes.items():
        if before.get(split, found) != found:
            raise DataError(
                f"{files[split]}: has changed since the work in {work} began; put it back, or remove "
                f"{noted} to keep the photos that are there and start again"
            )
    if before.keys() != hashes.keys():
        raise DataError(
            f"{work}: begun with {', '.join(before)}, now given {', '.join(hashes)}; give the same, or remove {noted}"
        )
