"""Parsing a file of the size of FEC's training annotations: time, memory, and complete accounting of its rows."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import seconds
from fecnet.prepare.annotations import read_annotations

ROWS = 450_000  # about the size of the published training file
PHOTOS = 87_500  # distinct ones, 1.8 faces each
REQUIRED_SECONDS = 15.0
REQUIRED_MB = 1200.0  # peak of the whole process, the interpreter and its packages included
_TYPES = ("ONE_CLASS_TRIPLET", "TWO_CLASS_TRIPLET", "THREE_CLASS_TRIPLET")
_NUM_RATERS = 400


def run(*, quick: bool) -> dict[str, Any]:
    """Write a realistic file, then read it in a separate process."""
    rows = ROWS // 100 if quick else ROWS
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "annotations.csv"
        write_annotations(path, rows=rows, photos=PHOTOS * rows // ROWS)
        command = [sys.executable, "-m", "benchmarks.annotations", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        found["file_mb"] = path.stat().st_size / 1e6
    print(
        f"{found['read']:,} rows, {found['file_mb']:.0f} MB: {found['seconds']:.1f} s (≤ {REQUIRED_SECONDS:.0f}), "
        f"peak {found['peak_mb']:.0f} MB (≤ {REQUIRED_MB:.0f}); kept {found['kept']:,}, dropped {found['dropped']}"
    )
    accounted = found["kept"] + sum(found["dropped"].values())
    if not accounted == found["read"] == rows:
        raise RuntimeError(f"{rows} rows written, {found['read']} read, {accounted} accounted for")
    return {**found, "accounted": accounted, "required_seconds": REQUIRED_SECONDS, "required_mb": REQUIRED_MB}


def write_annotations(path: Path, *, rows: int, photos: int, seed: int = 0) -> None:
    """Rows of three faces, a type, and 6 to 12 raters of whom most agree; about one in ten lacks agreement."""
    draw = random.Random(seed)
    faces = [face for _ in range(photos) for face in _faces_of_a_photo(draw)]
    raters = [f"{draw.getrandbits(64):016x}" for _ in range(_NUM_RATERS)]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            odd = draw.randint(1, 3)
            answers = [odd if draw.random() < 0.82 else draw.randint(1, 3) for _ in range(draw.randint(6, 12))]
            pairs = ",".join(
                f"{rater},{answer}" for rater, answer in zip(draw.sample(raters, 12), answers, strict=False)
            )
            file.write(f"{','.join(draw.sample(faces, 3))},{draw.choice(_TYPES)},{pairs}\n")


def _faces_of_a_photo(draw: random.Random) -> list[str]:
    number, secret = draw.randint(10**9, 10**10), draw.getrandbits(40)
    url = f"http://farm{draw.randint(1, 9)}.staticflickr.com/{draw.randint(1000, 8000)}/{number}_{secret:010x}_b.jpg"
    faces = []
    for _ in range(draw.choice((1, 1, 1, 2, 2, 4))):
        left, top, side = draw.uniform(0, 0.7), draw.uniform(0, 0.6), draw.uniform(0.05, 0.3)
        faces.append(f"{url},{left:.9f},{left + side:.9f},{top:.9f},{top + side:.9f}")
    return faces


def measure(path: Path) -> dict[str, Any]:
    """Read the file in this process."""
    found: dict[str, Any] = {}
    before = _peak_mb()

    def read() -> None:
        annotations = read_annotations({"train": path}, progress=False)["train"]
        found.update({key: annotations.coverage[key] for key in ("read", "kept", "dropped")})
        found.update(photos=len(annotations.urls), faces=len(annotations.face_photo_F))
        found.update(answers=len(annotations.answer))

    return {"seconds": seconds(read), "peak_mb": _peak_mb(), "peak_mb_before": before, **found}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
