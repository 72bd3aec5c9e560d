"""From photos to a packed set of aligned faces: photos/s of ``fecnet prepare list``, of another checkout and of a loop.

``--before FOLDER`` names the other checkout, such as a ``git worktree`` of an earlier commit; without it, this one is
measured against itself. Each is a command, from its start to its end, on both cores. The loop is the usual one around
facenet-pytorch's detector: open, detect, align the largest face. All run in turns. The photos are annotated ones of a
folder (images/ with annotations.json), which FECNET_FACES names:

- *small*: as they are, about 0.3 megapixels, linked repeatedly to reach the number.
- *large*: enlarged to four megapixels, as a camera's are; each once.

``kept`` is how many faces each found.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.checkouts import COMMAND, both, commits, environment
from benchmarks.faces import YUNET
from benchmarks.record import seconds, spread
from fecnet.faces.align import align_face

SIZE = 160
MEGAPIXELS = 4.0
CASES = {"small": 600, "large": 93}  # photos of a command
LOOP_PHOTOS = {"small": 200, "large": 24}
ROUNDS = 3
REQUIRED = {"mtcnn over before": 2.0, "mtcnn over loop": 3.0, "yunet over before": 3.0}


def run(*, quick: bool, before: str = "") -> dict[str, Any]:
    """Both detectors and the loop on both kinds of photos; without photos nothing is measured."""
    images = Path(os.environ.get("FECNET_FACES", "../shared/data/faces")) / "images"
    photos = sorted(images.glob("*.jpg"))
    if not photos:
        print(f"{images}: no photos: not measured")
        return {}
    sides = both(before)
    found: dict[str, Any] = {"commits": commits(sides), "megapixels": MEGAPIXELS, "required": REQUIRED}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures = {
            "small": link_photos(photos, folder / "small", 12 if quick else CASES["small"]),
            "large": enlarge(photos[: 3 if quick else CASES["large"]], folder / "large"),
        }
        for name, chosen in pictures.items():
            loop = chosen[: 3 if quick else LOOP_PHOTOS[name]]
            found[name] = compare(sides, chosen, loop, folder / "sets", rounds=1 if quick else ROUNDS)
            print(name, json.dumps(found[name], indent=1), flush=True)
    return found


def compare(
    sides: dict[str, Path], photos: list[Path], of_loop: list[Path], sets: Path, *, rounds: int
) -> dict[str, Any]:
    """Photos/s of commands and loop, the ratios of each round, and the faces kept.

    Args:
        sides: checkout by name, ``before`` and ``now``.
        photos: of each command.
        of_loop: of the loop.
        sets: folder to write into; emptied.
        rounds: of all, in turns.
    """
    detectors = ("mtcnn", "yunet") if YUNET.is_file() else ("mtcnn",)
    rates: dict[str, list[float]] = {}
    kept: dict[str, int] = {}
    for _ in range(rounds):
        for detector in detectors:
            for side, checkout in sides.items():
                shutil.rmtree(sets, ignore_errors=True)
                taken = seconds(lambda at=checkout, by=detector: prepare(at, photos, by, sets))  # type: ignore[misc]
                rates.setdefault(f"{detector}, {side}", []).append(len(photos) / taken)
                kept[f"{detector}, {side}"] = len(np.load(sets / "set" / "faces.npy", mmap_mode="r"))
        rates.setdefault("loop", []).append(len(of_loop) / seconds(lambda: plain_loop(of_loop)))
    ratios = {f"{detector} over before": (f"{detector}, now", f"{detector}, before") for detector in detectors}
    ratios["mtcnn over loop"] = ("mtcnn, now", "loop")
    return {
        "photos": len(photos),
        "photos_of_loop": len(of_loop),
        "photos_per_s": {name: spread(of) for name, of in rates.items()},
        "times": {
            name: spread([own / other for own, other in zip(rates[one], rates[against], strict=True)])
            for name, (one, against) in ratios.items()
        },
        "kept": kept,
    }


def prepare(checkout: Path, photos: list[Path], detector: str, sets: Path) -> None:
    """``fecnet prepare list`` of a checkout: align the faces of a list of triplets, and pack them."""
    sets.mkdir()
    num = len(photos)
    names = [photo.name for photo in photos]
    lines = [f"{names[k]},{names[(k + 1) % num]},{names[(k + 2) % num]},1,ONE_CLASS_TRIPLET" for k in range(num)]
    (sets / "list.csv").write_text("\n".join(lines))
    words = ["prepare", "list", str(sets / "list.csv"), str(photos[0].parent), str(sets / "set"), "--size", str(SIZE)]
    words += ["--detector", detector]
    if detector == "yunet":
        words += [model_option(checkout), str(YUNET)]
    fecnet(checkout, words)


def model_option(checkout: Path) -> str:
    """What a checkout calls the option of YuNet's file."""
    newer = "--detector-model"
    return newer if newer in fecnet(checkout, ["prepare", "list", "--help"]) else "--model"


def fecnet(checkout: Path, words: list[str]) -> str:
    """What a command of a checkout prints."""
    command = [sys.executable, "-P", "-c", COMMAND, *words]
    env = environment(checkout, os.cpu_count() or 1)
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    return done.stdout


def link_photos(photos: list[Path], folder: Path, num: int) -> list[Path]:
    """``num`` names for the photos, without copying them."""
    folder.mkdir()
    names = [folder / f"{k}.jpg" for k in range(num)]
    for k, name in enumerate(names):
        name.symlink_to(photos[k % len(photos)].resolve())
    return names


def enlarge(photos: list[Path], folder: Path) -> list[Path]:
    """The photos as JPEG files of ``MEGAPIXELS``."""
    folder.mkdir()
    for photo in photos:
        with Image.open(photo) as opened:
            image = opened.convert("RGB")
        factor = (MEGAPIXELS * 1e6 / (image.width * image.height)) ** 0.5
        size = (round(image.width * factor), round(image.height * factor))
        image.resize(size, Image.Resampling.BICUBIC).save(folder / photo.name, quality=90)
    return [folder / photo.name for photo in photos]


def plain_loop(photos: list[Path]) -> np.ndarray:
    """A plain loop with facenet-pytorch: open, detect, align the largest face, keep."""
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, min_face_size=40, thresholds=[0.6, 0.7, 0.6], factor=0.709)
    faces = []
    for path in photos:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        boxes_K4, _, landmarks_K52 = detector.detect(image, landmarks=True)
        if boxes_K4 is not None:
            area_K = (boxes_K4[:, 2] - boxes_K4[:, 0]) * (boxes_K4[:, 3] - boxes_K4[:, 1])
            faces.append(align_face(np.asarray(image), landmarks_K52[area_K.argmax()], SIZE))
    return np.stack(faces)
