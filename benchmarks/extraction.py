"""From photos on disk to a packed data set of aligned faces, relative to a sequential loop.

The photos are annotated ones of a folder (images/ with annotations.json), linked repeatedly to reach the number;
FECNET_FACES names the folder.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.record import seconds
from fecnet.faces.align import align_face
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.fec import prepare_list

PHOTOS, LOOP_PHOTOS = 20_000, 300
SIZE = 160
REQUIRED = 2.0  # least ratio of the rates


def run(*, quick: bool) -> dict[str, Any]:
    """Photos/s of both; without photos a quick run skips it."""
    images = Path(os.environ.get("FECNET_FACES", "../shared/data/faces")) / "images"
    photos = sorted(images.glob("*.jpg"))
    if not photos:
        print(f"{images}: no photos: not measured")
        return {}
    num, num_loop = (12, 3) if quick else (PHOTOS, LOOP_PHOTOS)
    extraction = Extraction(size=SIZE, detector="mtcnn")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        link_photos(photos, folder / "pictures", num)
        lines = [f"{k}.jpg,{(k + 1) % num}.jpg,{(k + 2) % num}.jpg,1,ONE_CLASS_TRIPLET" for k in range(num)]
        (folder / "list.csv").write_text("\n".join(lines))
        files, coverage = {"train": folder / "list.csv"}, {}

        def packed() -> None:
            coverage.update(prepare_list(files, folder / "pictures", folder / "set", extraction=extraction))

        ours = num / seconds(packed)
    plain = num_loop / seconds(lambda: plain_loop([photos[k % len(photos)] for k in range(num_loop)]))
    print(f"{ours:.1f} photos/s against {plain:.1f} in the loop: {ours / plain:.2f} × (≥ {REQUIRED})")
    return {
        "photos": num,
        "photos_per_s": ours,
        "plain_loop_photos": num_loop,
        "plain_loop_photos_per_s": plain,
        "ratio": ours / plain,
        "required": REQUIRED,
        "faces": coverage["faces"],
    }


def link_photos(photos: list[Path], folder: Path, num: int) -> None:
    """``num`` names for the photos, without copying them where the disk allows it."""
    folder.mkdir()
    for k in range(num):
        (folder / f"{k}.jpg").symlink_to(photos[k % len(photos)].resolve())


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
