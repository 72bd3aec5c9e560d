"""Packing labelled photos of 350 pixels, relative to only decoding and resizing them, and to the detector alone.

Protocol: annotated photos of a folder (FECNET_FACES names it) are saved with a longer side of 350 pixels, as JPEG,
under many names. On all cores of the process, by turns, in one run:

- without detection: `fecnet prepare csv` from the list to the packed set, against loops that open, decode and resize
  to 112 pixels with Pillow into an array, one process per core, started before the clock;
- with detection: the same with `--align`, the start of its processes included, against the seconds that as many
  processes spend in the detector alone on the same photos, decoded before.

Without alignment, `prepare` also looks for the face in 200 of the stored pictures, once for a set of any size; these
seconds are measured apart (``square_s``) and are not in the rates.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from benchmarks.extraction import link_photos
from benchmarks.faces import DATA, YUNET
from benchmarks.record import seconds
from fecnet.faces.decode import decode_image
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.labelled import labelled
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.prepare.labelled.labelled import prepare_labelled
from fecnet.utils.cores import usable_cores

SIDE, SIZE, BATCH = 350, 112, 8
REQUIRED = 0.9  # least ratio of the rates


def run(*, quick: bool) -> dict[str, Any]:
    """Rates and ratios; without photos a quick run skips it."""
    photos = sorted((Path(os.environ.get("FECNET_FACES", DATA / "faces")) / "images").glob("*.jpg"))
    if not photos:
        print(f"{DATA / 'faces'} is absent: not measured")
        return {}
    plain, detected, rounds = (12, 8, 1) if quick else (8_000, 2_400, 5)
    workers = 1 if quick else usable_cores()
    measured: dict[str, Any] = {"workers": workers, "required": REQUIRED}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small = [_shrunk(photo, folder / photo.name) for photo in photos]
        files = _files(small, folder / "many", plain)
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            measured["without_detection"] = _without(files, pool, workers, rounds)
            some = _files(small, folder / "some", detected)
            for name in ("mtcnn", "yunet"):
                how = Extraction(detector=name, model=str(YUNET) if name == "yunet" else "")
                try:
                    how.build_detector()
                except ValueError as error:
                    print(f"{error}: not measured")
                    continue
                measured[f"with_{name}"] = _with(some, how, pool, workers, min(rounds, 2))
    return measured


def _without(files: list[Path], pool: ProcessPoolExecutor, workers: int, rounds: int) -> dict[str, Any]:
    shares = [files[k::workers] for k in range(workers)]
    list(pool.map(_resize, [files[:1]] * workers))  # started, before the clock
    ours, theirs = [], []
    without_square = patch(f"{labelled.__name__}.with_square", lambda recipe, *_: recipe)
    with without_square:
        for _ in range(rounds):
            theirs.append(len(files) / seconds(lambda: list(pool.map(_resize, shares))))
            ours.append(len(files) / _pack(files, None, workers))
    told = _told("without detection", len(files), ours, theirs, "resizing_alone_per_s")
    some = files[:400]
    spent = [_pack(some, None, workers)]
    with without_square:
        spent.append(_pack(some, None, workers))
    return told | {"square_s": round(spent[0] - spent[1], 1)}


def _with(files: list[Path], how: Extraction, pool: ProcessPoolExecutor, workers: int, rounds: int) -> dict[str, Any]:
    shares = [(files[k::workers], how) for k in range(workers)]
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(len(files) / max(pool.map(_detect, shares)))
        ours.append(len(files) / _pack(files, how, workers))
    return _told(f"with {how.detector}", len(files), ours, theirs, "detector_alone_per_s")


def _told(name: str, num: int, ours: Sequence[float], theirs: Sequence[float], what: str) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    rates = {"photos": num, "packed_per_s": statistics.median(ours), what: statistics.median(theirs)}
    print(f"{name}: {rates}; {ratio:.2f} × (≥ {REQUIRED})")
    return rates | {"ratio": ratio, "ratios": [round(each, 3) for each in ratios]}


def _pack(files: list[Path], how: Extraction | None, workers: int) -> float:
    """Seconds of the whole of ``fecnet prepare csv``, from the list to the packed set; its deletion is not counted."""
    with tempfile.TemporaryDirectory() as temporary:
        table = Path(temporary, "list.csv")
        table.write_text("\n".join(["path,label", *(f"{file},{'ab'[k % 2]}" for k, file in enumerate(files))]))

        def pack() -> None:
            source = read_csv_list(table, allow_absolute=True)
            prepare_labelled(source, Path(temporary, "set"), size=SIZE, extraction=how, workers=workers, progress=False)

        return seconds(pack)


def _resize(files: Sequence[Path]) -> int:
    """A plain loop with Pillow: open, decode, crop the central square, resize; the faces are not kept."""
    size = 0
    for file in files:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        size += np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).nbytes
    return size


def _detect(share: tuple[Sequence[Path], Extraction]) -> float:
    """Seconds in the detector alone."""
    import torch

    torch.set_num_threads(1)  # as the processes that pack
    files, how = share
    detector = how.build_detector()
    assert detector is not None
    spent = 0.0
    for first in range(0, len(files), BATCH):
        images = [decode_image(file) for file in files[first : first + BATCH]]
        started = time.perf_counter()
        detector.detect_batch(images)
        spent += time.perf_counter() - started
    return spent


def _shrunk(photo: Path, to: Path) -> Path:
    with Image.open(photo) as opened:
        image = opened.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    image.save(to, quality=90)
    return to


def _files(photos: list[Path], folder: Path, num: int) -> list[Path]:
    link_photos(photos, folder, num)
    return [folder / f"{k}.jpg" for k in range(num)]
