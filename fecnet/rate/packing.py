"""Packs a study: the pictures and every answer that counts become a packed data set, see ``fecnet.prepare``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from fecnet.prepare.extraction import Extraction
from fecnet.prepare.packing import Faces, TripletPacking
from fecnet.prepare.rater_answers import read_answers
from fecnet.prepare.triplet_rows import Annotations
from fecnet.rate.export import ANSWERS, write_answers
from fecnet.rate.study import FACES, Study

_DEFAULT_SIZE = 224  # side of faces from photos, pixels, as in fecnet prepare triplets


def prepare_study(
    study: Study,
    path: str | Path,
    *,
    extraction: Extraction | None = None,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the packed data set ``path`` from a study; raters may answer meanwhile.

    Args:
        study: an open study.
        path: the folder to create.
        extraction: how faces are extracted; None: the pictures are faces already, see ``plain_extraction``.
        workers: processes that extract faces; 0 = one per core.
        overwrite: replace an existing packed data set at ``path``.
        progress: show progress bars.

    Returns:
        The coverage, see ``fecnet.prepare.fec.prepare_triplets``.

    Raises:
        DataError: no answers yet; else see ``prepare_triplets``.
    """
    files = {row["name"]: study.path / FACES / row["file"] for row in study.rows("SELECT name, file FROM faces")}

    def read(tables: Mapping[str, Path]) -> dict[str, Annotations]:
        return read_answers(tables["answers"], progress=progress)

    def locate(faces: Faces, work: Path) -> tuple[dict[int, Path], dict[str, str]]:
        there = {number: files[name] for number, name in enumerate(faces.sources) if files[name].is_file()}
        return there, {name: "missing_file" for number, name in enumerate(faces.sources) if number not in there}

    how: dict[str, Any] = {"workers": workers, "overwrite": overwrite, "progress": progress}
    packing = TripletPacking(Path(path), read, extraction or plain_extraction(study), **how)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / ANSWERS
        write_answers(study, table)
        return packing.of_photos({"answers": table}, locate)


def plain_extraction(study: Study, given: Extraction | None = None, *, size: int | None = None) -> Extraction:
    """Use pictures without detection; with their own size and channels where all are squares of one size.

    Args:
        study: an open study.
        given: settings whose size is replaced; None for no detection.
        size: side of the faces, pixels; None for their own size, else 224.
    """
    given = given or Extraction(detector="")
    if size is not None:
        return replace(given, size=size)
    seen = set()
    for row in study.rows("SELECT file FROM faces"):
        with Image.open(study.path / FACES / row["file"]) as image:
            seen.add((image.size, image.mode))
    (width, height), mode = next(iter(seen))
    if len(seen) == 1 and width == height and 16 <= width <= 1024 and not given.detector:
        return replace(given, size=width, grey=given.grey or mode == "L")
    return replace(given, size=_DEFAULT_SIZE)
