"""Packs annotated triplets: Google's FEC from its files and the web; a list or raters' answers with a folder of images.

Sources: arXiv:1811.11283 for the files; `annotations.py` reads them, `download.py` downloads the photos,
`packing.py` extracts and packs the faces. Intermediate results are kept in ``<path>.work``: an interrupted run resumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from fecnet.faces.picture_files import is_there
from fecnet.prepare.annotations import read_annotations
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.packing import Faces, Locate, TripletPacking
from fecnet.prepare.people import Shares
from fecnet.prepare.rater_answers import read_answers
from fecnet.prepare.triplet_lists import read_lists
from fecnet.prepare.triplet_rows import Annotations, check_usable
from fecnet.prepare.web.download import fetch_photos
from fecnet.prepare.web.photo_store import PhotoStore
from fecnet.utils.errors import DataError


def prepare_fec(
    files: Mapping[str, str | Path],
    path: str | Path,
    *,
    extraction: Extraction | None = None,
    crops: str | Path = "",
    offline: bool = False,
    min_agreement: float = 2 / 3,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
    download: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the packed data set ``path`` from FEC's annotation files.

    Args:
        files: annotation file by split, such as ``train`` and ``test``.
        path: the folder to create; photos and extracted faces are kept in ``<path>.work``, even after success.
        extraction: how faces are extracted; with ``crops`` only its size is used.
        crops: folder of existing face crops with their table ``crops.csv``; nothing is downloaded or detected.
        offline: download nothing; pack the photos on disk.
        min_agreement: minimum share of annotators who agree.
        workers: processes that extract faces; 0 = one per core.
        overwrite: replace an existing packed data set at ``path``.
        progress: show progress bars.
        download: keyword arguments of ``fetch_photos``.

    Returns:
        The coverage, as in ``dataset.json``: counts read, kept and dropped by reason of ``rows`` (by split),
        ``photos``, ``faces`` and ``triplets`` (by split).

    Raises:
        DataError: a file is invalid or has changed since the first run, ``path`` exists, another run is writing it,
            or no face or triplet is left.
    """
    extraction = extraction or Extraction()

    def locate(faces: Faces, work: Path) -> tuple[dict[int, Path], dict[str, str]]:
        """Paths of the photos by index, and reasons of the missing ones by URL."""
        if offline:
            store = PhotoStore(work)
            found = {url: store.find(url) for url in faces.sources}
            paths = {url: there for url, there in found.items() if there is not None}
            reasons = {url: "not_on_disk" for url in faces.sources if url not in paths}
        else:
            report = fetch_photos(faces.sources, work, progress=progress, **dict(download or {}))
            paths, reasons = report.path_of, report.reason_of
        return {number: paths[url] for number, url in enumerate(faces.sources) if url in paths}, reasons

    def read(files: Mapping[str, Path]) -> dict[str, Annotations]:
        tables = read_annotations(files, min_agreement=min_agreement, progress=progress)
        check_usable(files, tables)
        return tables

    how: dict[str, Any] = {"workers": workers, "overwrite": overwrite, "progress": progress}
    packing = TripletPacking(Path(path), read, extraction, **how, same_files=True)
    given = {split: Path(file) for split, file in files.items()}
    if crops:
        return packing.of_crops(given, Path(crops))
    return packing.of_photos(given, locate)


def prepare_list(
    files: Mapping[str, str | Path],
    pictures: str | Path,
    path: str | Path,
    *,
    extraction: Extraction | None = None,
    allow_absolute: bool = False,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the packed data set ``path`` from lists ``img1,img2,img3,label,type``, see ``read_lists``.

    Args:
        files: list by split.
        pictures: folder that the paths in the lists are relative to.
        path: the folder to create.
        extraction: how faces are extracted; by default the images are face crops already.
        allow_absolute: also take images by absolute paths, from anywhere.
        workers: see ``prepare_fec``.
        overwrite: see ``prepare_fec``.
        progress: see ``prepare_fec``.

    Returns:
        The coverage, see ``prepare_fec``.

    Raises:
        DataError: see ``prepare_fec``; the folder ``pictures`` does not exist; absolute paths that are not allowed.
    """
    locate, folder = _locate_below(pictures), Path(pictures)

    def read(files: Mapping[str, Path]) -> dict[str, Annotations]:
        tables = read_lists(files, allow_absolute=allow_absolute, progress=progress)
        for split, table in tables.items():
            if first := table.coverage["first"].get("absolute_path"):
                where, text = f"{files[split]}: line {first['line']}", shorten(first["text"], 100)
                raise DataError(
                    f"{where}: an absolute path: {text}; allowed: paths below {folder}, or --allow-absolute"
                )
        check_usable(files, tables)
        return tables

    how: dict[str, Any] = {"workers": workers, "overwrite": overwrite, "progress": progress}
    packing = TripletPacking(Path(path), read, extraction or Extraction(detector=""), **how)
    return packing.of_photos({split: Path(file) for split, file in files.items()}, locate)


def prepare_triplets(
    answers: str | Path,
    pictures: str | Path,
    path: str | Path,
    *,
    extraction: Extraction | None = None,
    allow_absolute: bool = False,
    hold_out_subjects: Shares | None = None,
    seed: int = 0,
    workers: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the packed data set ``path`` from the answers of raters, see ``read_answers``.

    Args:
        answers: the table.
        pictures: see ``prepare_list``.
        path: the folder to create.
        extraction: see ``prepare_list``.
        allow_absolute: see ``prepare_list``.
        hold_out_subjects: share of the people for each split but train, see ``parse_shares``; None: the splits of the
            table.
        seed: seed of the choice of people.
        workers: see ``prepare_fec``.
        overwrite: see ``prepare_fec``.
        progress: see ``prepare_fec``.

    Returns:
        The coverage, as ``prepare_fec``.

    Raises:
        DataError: see ``prepare_list``; an invalid row of the table.
    """
    locate = _locate_below(pictures)

    def read(files: Mapping[str, Path]) -> dict[str, Annotations]:
        shares = hold_out_subjects
        table, how = files["answers"], {"allow_absolute": allow_absolute, "progress": progress}
        return read_answers(table, hold_out_subjects=shares, seed=seed, **how)

    how: dict[str, Any] = {"workers": workers, "overwrite": overwrite, "progress": progress}
    packing = TripletPacking(Path(path), read, extraction or Extraction(detector=""), **how)
    return packing.of_photos({"answers": Path(answers)}, locate)


def _locate_below(pictures: str | Path) -> Locate:
    """Finds photos by their paths below a folder.

    Raises:
        DataError: no such folder.
    """
    folder = Path(pictures)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that the paths in the list are relative to")

    def locate(faces: Faces, work: Path) -> tuple[dict[int, Path], dict[str, str]]:
        there = {number: folder / name for number, name in enumerate(faces.sources) if is_there(folder / name)}
        return there, {name: "missing_file" for number, name in enumerate(faces.sources) if number not in there}

    return locate
