"""Prepares, trains and searches in a folder, and prints a digest of what every command wrote and told.

Run by ``test_hash_seeds.py`` under several hash seeds of Python, which change the order of sets.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fecnet.cli.main import main
from tests.conftest import TINY_RECIPE

CLASSES = [
    "MODEL.HEAD",
    "classifier",
    "LOSS.CRITERIA",
    "[cross_entropy]",
    "LOSS.WEIGHTS",
    "[1.0]",
    "MODEL.FEATURE_DIM",
    512,
]
_VARIES = ("folder", "date", "started", "command", "seconds", "provenance", "commit", "cores", "threads")


def make_sources(rng):
    for split in ("train", "test"):
        for word in ("Happy", "sad", "0_angry", "happiness", "Ünknown"):
            folder = Path("tree", split, word)
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).save(folder / f"{word}-{number}.png")
    names = sorted(str(path.relative_to("tree")) for path in Path("tree").rglob("*.png"))
    labels = {"numbers": ["1", "01", "2", "10", "3.0"], "words": ["b", "B", "joy", "happy", "a"]}
    for kind, texts in labels.items():
        lines = [f"{name},{texts[place % 5]},{('fit', 'val', 'x')[place % 3]}" for place, name in enumerate(names)]
        Path("tree", f"{kind}.csv").write_text("\n".join(["path,label,split", *lines]))
    num = len(names)
    rows = [
        f"{names[k]},{names[(k + 1) % num]},{names[(k + 2) % num]},{k % 3 + 1},ONE_CLASS_TRIPLET" for k in range(num)
    ]
    Path("list.csv").write_text("\n".join(rows))
    answers = [f"{row.rsplit(',', 2)[0]},{(k + r // 2) % 3},rater{r}" for k, row in enumerate(rows) for r in range(3)]
    Path("answers.csv").write_text("\n".join(["a,b,c,odd,rater", *answers]))


def run(*arguments):
    code = main([str(argument) for argument in arguments])
    print(code, *arguments, flush=True)


def stable(value):
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: stable(part) for key, part in value.items() if key not in _VARIES}
    return [stable(part) for part in value] if isinstance(value, list) else value


def digest(path):
    if path.suffix == ".json":
        return hashlib.sha256(json.dumps(stable(json.loads(path.read_text()))).encode()).hexdigest()[:12]
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def run_all(folder):
    os.chdir(folder)
    make_sources(np.random.default_rng(0))
    run("prepare", "csv", "tree/numbers.csv", "numbers", "--size", 40)
    run("prepare", "csv", "tree/words.csv", "words", "--size", 40)
    run("prepare", "folder", "tree", "moods", "--size", 48, "--triplets", 20, "--eval-triplets", 10)
    run("prepare", "list", "list.csv", "tree", "triplets", "--size", 40, "--detector", "none")
    run("prepare", "triplets", "answers.csv", "tree", "rated", "--size", 40, "--detector", "none")
    run("data", "show", "moods")
    Path("tiny.yaml").write_text(TINY_RECIPE % ("moods", "result"))
    short = ["SOLVER.LENGTH", 2, "DATA.EVAL_SPLITS", "[test]", "EVAL.PERIOD", 0, "CHECKPOINT.PERIOD", 0]
    for name, overrides in {"triplets": [], "classes": ["DATA.LABELS", "label", *CLASSES]}.items():
        run("train", "tiny.yaml", *short, "NAME", name, *overrides)
    run("embed", "result/triplets", "tree", "--output", "out.npy", "--faces", "whole")
    run("search", "build", "result/triplets", "tree", "--output", "index", "--faces", "whole")
    for path in sorted(Path().rglob("*")):
        kept = path.parts[0].endswith(".work")  # their names hold the folder
        if path.is_file() and path.parts[0] != "tree" and not kept and path.name != "trainer.pt":  # which holds seconds
            print(digest(path), path)


if __name__ == "__main__":
    run_all(sys.argv[1])
