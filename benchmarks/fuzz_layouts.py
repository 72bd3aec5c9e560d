"""Fuzzed: labelled pictures in every layout that ``fecnet prepare`` reads, and which of them a folder is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fuzz_mutations import Files
from benchmarks.fuzz_target import Target, check
from fecnet.prepare.ferplus import find_ferplus_lists
from fecnet.prepare.labelled.csv_list import read_csv_list, read_csv_votes
from fecnet.prepare.labelled.fer2013 import read_fer2013
from fecnet.prepare.labelled.ferplus_folders import read_ferplus_folders
from fecnet.prepare.labelled.labelled_source import LabelledSource
from fecnet.prepare.labelled.readers import READERS
from fecnet.prepare.recognition import recognise

_CSV: list[Files] = [
    {"list.csv": b"path,label,split,subject,left,top,right,bottom\na.png,joy,train,p,0,0,8,8\nb.png,sad,val,,,,,\n"},
    {"list.csv": b"image;emotion\na.png;0\nb.png;1\n"},
    {"votes.csv": b"path,split,joy,sad\na.png,train,3,1\nb.png,test,0.5,0.5\n"},
]
_PIXELS = " ".join(["7"] * 48 * 48)
_IMAGES = hashlib.sha256(bytes([7]) * 2 * 48 * 48).hexdigest()  # of both rows
_VOTES = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


@cache
def _picture() -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.full((48, 48), 7, np.uint8)).save(held, "PNG")
    return held.getvalue()


def _pictures(*names: str) -> Files:
    return dict.fromkeys(names, _picture())


def _npy(value: object) -> bytes:
    held = io.BytesIO()
    np.save(held, np.asarray(value))
    return held.getvalue()


def _fer2013() -> list[Files]:
    return [{"fer2013.csv": f"emotion,pixels,Usage\n3,{_PIXELS},Training\n0,{_PIXELS},PublicTest\n".encode()}]


def _ferplus() -> list[Files]:
    votes = f"Usage,Image name,{_VOTES}\nTraining,a.png,1,7,0,0,0,0,0,0,2,0\nPublicTest,,0,0,0,0,9,0,0,0,0,1\n"
    rows = 'a.png,"(0, 0, 48, 48)",1,7,0,0,0,0,0,0,2,0\n'
    folders = {"FER2013Train/label.csv": rows.encode()} | _pictures("FER2013Train/a.png")
    return [_fer2013()[0] | {"fer2013new.csv": votes.encode()}, folders]


def _ckplus() -> list[Files]:
    held = io.BytesIO()
    names = [f"S{n:03d}_001_00000001.png" for n in range(7)]
    words = ["anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"]
    np.savez(
        held,
        images=np.zeros((7, 48, 48), np.uint8),
        label=np.arange(7),
        classes=np.array(words),
        filename=np.array(names),
    )
    published = _pictures("cohn-kanade-images/S005/001/S005_001_00000001.png")
    emotion = {"Emotion/S005/001/S005_001_00000001_emotion.txt": b"   3.0000000e+00\n"}
    table = {"ckextended.csv": f"emotion,pixels,Usage\n3,{_PIXELS},Training\n6,{_PIXELS},PublicTest\n".encode()}
    return [published | emotion, {"ckplus48.npz": held.getvalue()}, table]


def _rafdb() -> list[Files]:
    pictures = _pictures("Image/aligned/train_00001_aligned.jpg", "Image/aligned/test_0001_aligned.jpg")
    published = {"EmoLabel/list_patition_label.txt": b"train_00001.jpg 5\ntest_0001.jpg 4\n"} | pictures
    mirror = {
        f"{split}_labels.csv": f"image,label\n{split}_1.jpg,{label}\n".encode()
        for split, label in (("train", 2), ("test", 7))
    }
    mirror |= _pictures("DATASET/train/2/train_1.jpg", "DATASET/test/7/test_1.jpg")
    return [published, mirror, _pictures("train/1/train_1_aligned.jpg", "test/7/test_1_aligned.jpg")]


def _affectnet() -> list[Files]:
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    row = "1/a.jpg,0,0,40,40,1;2,1,0.5,-0.25\n"
    arrays = {
        f"{split}_set/annotations/0_{name}.npy": _npy(value)
        for split in ("train", "val")
        for name, value in (("exp", "3"), ("val", 0.5), ("aro", "-0.1"))
    }
    return [
        {"training.csv": (head + row).encode(), "validation.csv": (head + row.replace("1/a", "2/b")).encode()},
        arrays | _pictures("train_set/images/0.jpg", "val_set/images/0.jpg"),
        {"labels.csv": b",pth,label,relFCs\n0,anger/a.jpg,anger,0.8\n"} | _pictures("anger/a.jpg"),
    ]


def _expw() -> list[Files]:
    return [
        {"label/label.lst": b"a.jpg 0 10 20 90 80 57.5 3\nb.jpg 1 1 2 9 8 57 6\n"}
        | _pictures("image/a.jpg", "image/b.jpg")
    ]


def _folder() -> list[Files]:
    return [
        _pictures("joy/a.png", "joy/b.png", "calm/c.png"),
        _pictures("train/joy/a.png", "val/calm/b.png", "train/calm/c.png"),
    ]


def _jaffe() -> list[Files]:
    return [_pictures("KA.AN1.39.tiff", "KA.HA2.30.tiff", "YM.NE1.49.tiff")]


def _kdef() -> list[Files]:
    return [_pictures("AF01/AF01ANS.JPG", "AF01/AF01HAS.JPG", "BM02/BM02NEHL.JPG")]


_LAYOUTS: dict[str, Callable[[], list[Files]]] = {
    **{"fer2013": _fer2013, "ckplus": _ckplus, "rafdb": _rafdb, "affectnet": _affectnet, "expw": _expw},
    **{"jaffe": _jaffe, "kdef": _kdef, "folder": _folder},
}


def _read_csv(folder: Path) -> None:
    (file,) = folder.iterdir()
    source = read_csv_votes(file, ("joy", "sad")) if file.name == "votes.csv" else read_csv_list(file)
    _check_source(source)
    content = file.read_bytes()
    if not any(mark in content for mark in (b'"', b"'", b"\r")):  # else a row may have several lines
        rows = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip(b" \t,;")]
        held = len(source.pictures) + sum(sum(reasons.values()) for reasons in source.dropped.values())
        check(held == len(rows) - 1, f"{held} rows of {len(rows) - 1}")


def _check_source(source: LabelledSource) -> None:
    """Classes and boxes of what is kept are in range."""
    for picture in source.pictures:
        check(0 <= picture.label < len(source.classes), f"label {picture.label} of {len(source.classes)}")
        check(picture.split.isidentifier(), f"split {picture.split}")
        check(bool(np.isfinite(picture.box).all()), f"box {picture.box}")
        affect = np.array(picture.valence_arousal or (0, 0))
        check(bool((np.isnan(affect) | (np.abs(affect) <= 1)).all()), f"affect {affect}")
    check(len({*source.classes}) == len(source.classes), f"classes {source.classes}")


def _read_layout(name: str) -> Callable[[Path], None]:
    return lambda folder: _check_source(READERS[name](folder))


def _read_ferplus(folder: Path) -> None:
    if (folder / "fer2013.csv").is_file():
        read_fer2013(folder, images_sha256=_IMAGES)
    elif lists := find_ferplus_lists(folder):
        read_ferplus_folders(folder, lists)


def _recognise(folder: Path) -> None:
    recognise(folder)


_WORDS = (*b"joy happy anger train val test path label split 7 8 11 255 S005 AN image a.png".split(),)


def layout_targets() -> Iterator[Target]:
    """Those of this file."""
    every = {**_LAYOUTS, "ferplus": _ferplus, "csv": lambda: _CSV}
    for name, bases in every.items():
        read = {"ferplus": _read_ferplus, "csv": _read_csv}.get(name) or _read_layout(name)
        yield Target(name, bases, read, _WORDS, names=name != "csv", weight=8 if name == "csv" else 4)
    yield Target(
        "recognise", lambda: [files for bases in every.values() for files in bases()], _recognise, _WORDS, names=True
    )
