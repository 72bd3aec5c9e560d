"""The commands that write, for ``benchmarks.faults``, and the folder that they are run in."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.traced import execute
from fecnet.cli.main import main
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.rate.raters import find_rater, invite
from fecnet.rate.simulated import answer_all
from fecnet.rate.study import Study

PICTURES = ("joy/a", "joy/b", "joy/c", "calm/d", "calm/e", "calm/f", "rage/g")
_SHORT = (
    *("SOLVER.LENGTH", "2", "SOLVER.WARMUP", "0", "SOLVER.BATCH_SIZE", "6", "DATA.INPUT_SIZE", "32", "DEVICE", "cpu"),
    *("DATA.PATH", "triplets", "DATA.SOURCE", "", "MODEL.WIDTH_MULT", "0.25", "LOG.TENSORBOARD", "False"),
    *("OUTPUT_DIR", "result", "NAME"),
)
_TRAIN = ("train", "demo", *_SHORT)
_FOLDS = ("folds", "demo_classes", "DATA.NUM_FOLDS", "2", "DATA.FOLD_BY", "subject", *_SHORT)
_EMBED = ("embed", "result/net", "pictures", "--faces", "whole", "--output")
_PACK = ("--size", "32", "--workers", "1")


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: in the table.
        words: of ``fecnet``; run in the folder of its material.
        output: what it writes, patterns of paths in that folder; of a pointer ``last``, what it points to.
        beside: what it adds to or writes in turn; compared only when the command has been repeated.
        adds: whether it adds once more when it is repeated after it came to its end.
    """

    name: str
    words: tuple[str, ...]
    output: tuple[str, ...]
    beside: tuple[str, ...] = ()
    adds: bool = False


COMMANDS = (
    Command("prepare", ("prepare", "folder", "pictures", "packed", *_PACK), ("packed",)),
    Command("prepare --overwrite", ("prepare", "folder", "pictures", "data", *_PACK, "--overwrite"), ("data",)),
    Command(
        "prepare csv",
        ("prepare", "csv", "labels.csv", "packed", *_PACK, "--triplets", "6", "--label-noise", "0.3"),
        ("packed",),
    ),
    Command(
        "prepare --align",
        ("prepare", "folder", "pictures", "packed", *_PACK, "--align", "--no-face", "box"),
        ("packed",),
    ),
    Command(
        "prepare fec",
        ("prepare", "fec", "fec.csv", "packed", *_PACK, "--detector", "none", "--allow-private", "--connections", "1"),
        ("packed",),
    ),
    Command("prepare list", ("prepare", "list", "list.csv", "pictures", "packed", *_PACK), ("packed",)),
    Command("prepare triplets", ("prepare", "triplets", "answers.csv", "pictures", "packed", *_PACK), ("packed",)),
    Command("prepare study", ("prepare", "study", "old_study", "judged", "--workers", "1"), ("judged",)),
    Command(
        "train",
        (*_TRAIN, "new", "--resume", "auto"),
        ("result/new/checkpoints/last",),
        ("result/new/checkpoints", "result/new/metrics.jsonl"),
    ),
    Command(
        "train --resume",
        (*_TRAIN, "net", "SOLVER.LENGTH", "4", "CHECKPOINT.KEEP", "1", "--resume", "auto"),
        ("result/net/checkpoints/last",),
        ("result/net/checkpoints", "result/net/metrics.jsonl"),
    ),
    Command(
        "folds",
        (*_FOLDS, "new", "--fold", "1"),
        ("result/new/*folds_1.*",),
        ("result/new/fold_1/checkpoints", "result/new/fold_1/metrics.jsonl", "result/new/fold_1/evaluation"),
    ),
    Command("folds of finished runs", (*_FOLDS, "folds"), ("result/folds/*folds.*",)),
    Command("compare", ("compare", "result/net", "result/other", "--output", "compared"), ("compared",)),
    Command("evaluate", ("evaluate", "result/net", "DEVICE", "cpu"), ("result/net/evaluation",)),
    Command("report", ("report", "result/net", "--output", "report.html"), ("report*",)),
    Command("embed", (*_EMBED, "vectors.npy"), ("vectors*",)),
    Command("embed --overwrite", (*_EMBED, "old.npy", "--overwrite"), ("old.*",)),
    Command("search build", ("search", "build", "result/net", "triplets", "--output", "index"), ("index",)),
    Command("search add", ("search", "add", "old_index", "pictures/calm"), ("old_index",)),
    Command("search remove", ("search", "remove", "old_index", "pictures/joy/a.png"), ("old_index",)),
    Command("export", ("export", "result/net", "--format", "bundle", "--output", "bundle"), ("bundle",)),
    Command("prune", ("prune", "result/net", "--ratio", "0.3", "--output", "pruned"), ("pruned",)),
    Command("rate new", ("rate", "new", "study", "pictures", "--triplets", "4", "--hold-out", "0"), ("study",)),
    Command(
        "rate new --strategy typed",
        ("rate", "new", "study", "data", "--triplets", "4", "--hold-out", "0", "--strategy", "typed"),
        ("study",),
    ),
    Command("rate more", ("rate", "more", "old_study", "--triplets", "2"), ("old_study",), adds=True),
    Command("rate invite", ("rate", "invite", "old_study", "1"), ("old_study",), adds=True),
    Command("rate export", ("rate", "export", "old_study", "tables"), ("tables",)),
    Command("rate backup", ("rate", "backup", "old_study", "copy"), ("copy",)),
)


def make_pictures(folder: Path) -> None:
    """Seven pictures in the folders of three classes, and beside them a list of their classes."""
    rng = np.random.default_rng(0)
    for name in PICTURES:
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file)
    rows = [(f"{folder.name}/{name}.png", name.split("/")[0], "train") for name in PICTURES]
    _write(folder.with_name("labels.csv"), [("path", "label", "split"), *rows])


def make_material(folder: Path, photos: Callable[[int], str]) -> None:
    """Beside the pictures lists of triplets, packed sets, trained nets, vectors, an index and a study.

    Args:
        folder: with the pictures.
        photos: the addresses of photos that a web server has.
    """
    _write_triplets(folder, photos)
    prepare_synthetic(
        folder / "triplets",
        size=32,
        num_train_identities=12,
        num_val_identities=8,
        num_test_identities=8,
        num_train_triplets=30,
        num_val_triplets=12,
        num_test_triplets=12,
        progress=False,
    )
    with _inside(folder):
        for words in (
            [*_TRAIN, "net"],
            [*_TRAIN, "other", "SEED", "1"],
            ["evaluate", "result/other", "DEVICE", "cpu"],  # these two are here for what they import: once for all
            ["compare", "result/net", "result/other", "--output", "old_comparison"],
            ["prepare", "folder", "pictures", "data", "--size", "24", "--workers", "1", "--triplets", "6"],
            ["embed", "result/net", "pictures/joy", "--faces", "whole", "--output", "old.npy"],
            ["search", "build", "result/net", "pictures/joy", "--faces", "whole", "--output", "old_index"],
            ["rate", "new", "old_study", "pictures", "--triplets", "4", "--hold-out", "0"],
        ):
            if main(words):
                raise SystemExit(f"the material could not be made: fecnet {' '.join(words)}")
        if (ended := execute([*_FOLDS, "folds"], Path.cwd())).code:  # forked: it starts processes
            raise SystemExit(f"the material could not be made: {ended.said}")
        for file in Path("result/folds").glob("*folds.*"):
            file.unlink()
        with Study("old_study") as study:
            for _, token in invite(study, 3):
                rater = find_rater(study, token)
                assert rater is not None
                answer_all(study, rater, lambda faces: 0)


def _write_triplets(folder: Path, photos: Callable[[int], str]) -> None:
    """Six triplets as a list of pictures, as the answers of three raters, and of six to photos of the web."""
    triplets = [(numbers, place % 3) for place, numbers in enumerate(combinations(range(len(PICTURES)), 3))][:6]
    names = [[f"{PICTURES[number]}.png" for number in numbers] for numbers, _ in triplets]
    listed: list[tuple[object, ...]] = []
    answered: list[tuple[object, ...]] = [("a", "b", "c", "odd", "rater")]
    judged: list[tuple[object, ...]] = []
    for (numbers, odd), own in zip(triplets, names, strict=True):
        listed.append((*own, odd + 1, "ONE_CLASS_TRIPLET"))
        answered += [(*own, own[odd], f"rater{rater}") for rater in range(3)]
        faces = [field for number in numbers for field in (photos(number), 0, 1, 0, 1)]
        judged.append((*faces, "TWO_CLASS_TRIPLET", *(f for rater in range(6) for f in (f"rater{rater}", odd + 1))))
    _write(folder / "list.csv", listed)
    _write(folder / "answers.csv", answered)
    _write(folder / "fec.csv", judged)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def _write(path: Path, rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
