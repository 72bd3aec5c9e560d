"""Each row of the table of layouts in docs/data.md that folders and file names decide, run on a small copy."""

import csv
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pytest

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from tests.conftest import ROOT
from tests.prepare.trees import grow

TRAIN, TEST = "train_00001", "test_0001"
BOTH = ("train", "test")
RAFDB = "fecnet prepare rafdb IN PATH"
FOLDER = "fecnet prepare folder IN PATH"
PARTS = ("basic", "compound")
PUBLISHED = [f"{part}/Image/aligned/{name}_aligned.jpg" for part in PARTS for name in (TRAIN, TEST)]
PUBLISHED_LISTS = {f"{part}/EmoLabel/list_patition_label.txt": f"{TRAIN}.jpg 5\n{TEST}.jpg 5\n" for part in PARTS}
MIRROR = [f"DATASET/train/5/{TRAIN}_aligned.jpg", f"DATASET/test/5/{TEST}_aligned.jpg"]
MIRROR_LISTS = {
    "train_labels.csv": f"image,label\n{TRAIN}_aligned.jpg,5\n",
    "test_labels.csv": f"image,label\n{TEST}_aligned.jpg,5\n",
}


class Row(NamedTuple):
    """What the row says of the release at its start, its command, the files, and what is to become of them."""

    release: str
    command: str
    pictures: Sequence[str]
    classes: set[str]  # that have faces
    splits: Sequence[str] = ("all",)
    lists: Mapping[str, str] = MappingProxyType({})
    subjects: Collection[str] = frozenset({""})


ROWS = [
    Row(
        "Kaggle folders `train/angry`",
        "fecnet prepare fer2013 IN PATH",
        ["train/angry/1.jpg", "test/angry/2.jpg"],
        {"angry"},
        BOTH,
    ),
    Row(
        "folders by number",
        "fecnet prepare fer2013 IN PATH",
        ["train/0/1.jpg", "train/6/1.jpg"],
        {"angry", "neutral"},
        ["train"],
    ),
    Row(
        "Kaggle folders `CK+48/anger`",
        "fecnet prepare ckplus IN PATH",
        ["CK+48/anger/S010_004_00000017.png"],
        {"anger"},
        subjects={"S010"},
    ),
    Row(
        "folders with splits and `neutral`",
        "fecnet prepare ckplus IN PATH",
        ["train/neutral/1.png", "test/happy/2.png"],
        {"neutral", "happy"},
        BOTH,
    ),
    Row("`basic/EmoLabel/", RAFDB, PUBLISHED, {"sadness"}, BOTH, PUBLISHED_LISTS),
    Row(
        "`compound/`, the same layout",
        "fecnet prepare rafdb IN/compound PATH",
        PUBLISHED,
        {"sadly surprised"},
        BOTH,
        PUBLISHED_LISTS,
    ),
    Row("mirror `DATASET/train/5/", RAFDB, MIRROR, {"sadness"}, BOTH, MIRROR_LISTS),
    Row("the same mirror without lists", RAFDB, MIRROR, {"sadness"}, BOTH),
    Row("mirror in words", RAFDB, ["train/angry/1.jpg", "test/happy/2.jpg"], {"anger", "happiness"}, BOTH),
    Row(
        "`jaffe/KA.AN1.39.tiff`",
        "fecnet prepare jaffe IN PATH",
        ["jaffe/KA.AN1.39.tiff", "jaffe/KL.SU1.2.tiff"],
        {"anger", "surprise"},
        subjects={"KA", "KL"},
    ),
    Row(
        "`KDEF_and_AKDEF/KDEF/AF01/AF01ANS.JPG`",
        "fecnet prepare kdef IN PATH",
        ["KDEF_and_AKDEF/KDEF/AF01/AF01ANS.JPG"],
        {"anger"},
        subjects={"F01"},
    ),
    Row(
        "`FERG_DB_256/aia/aia_anger/aia_anger_1.png`",
        f"{FOLDER} --levels -/subject/class",
        ["FERG_DB_256/aia/aia_anger/aia_anger_1.png", "FERG_DB_256/ray/ray_joy/ray_joy_1.png"],
        {"anger", "joy"},
        subjects={"aia", "ray"},
    ),
    Row(
        "`OriginalImg/VL/Strong/P001/Anger/000.jpeg`",
        f"{FOLDER} --levels -/-/-/subject/class",
        ["OriginalImg/VL/Strong/P001/Anger/000.jpeg", "OriginalImg/NI/Strong/P001/Anger/000.jpeg"],
        {"Anger"},
        subjects={"P001"},
    ),
    Row(
        "`Train/Train_Aligned_Faces/Angry`",
        FOLDER,
        ["Train/Train_Aligned_Faces/Angry/1.png", "Val/Val_Aligned_Faces/Angry/1.png", "Test/1.png"],
        {"Angry"},
        ["train", "val"],
    ),
    Row("`train_set/happy`", FOLDER, ["train_set/happy/1.jpg", "val_set/happy/1.jpg"], {"happy"}, ["train", "val"]),
    Row("`happy/train`", FOLDER, ["happy/train/1.jpg", "happy/test/1.jpg"], {"happy"}, BOTH),
    Row("a detector's", FOLDER, ["images/train/happy/1.jpg"], {"happy"}, ["train"], {"labels/train/happy/1.txt": "0"}),
]


def rows_of_the_page():
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    table = page.partition("tests/prepare/test_folder_matrix.py")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[2:4]] for line in table.splitlines() if "`fecnet" in line]


def test_every_row_of_the_page_is_here():
    for (release, command), row in zip(rows_of_the_page(), ROWS, strict=False):  # then those of test_list_matrix.py
        assert release.startswith(row.release) and command == f"`{row.command}`"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.release.strip("`")[:30])
def test_layout(tmp_path, row):
    grow(tmp_path / "IN", *row.pictures, *row.lists)
    for name, text in row.lists.items():
        (tmp_path / "IN" / name).write_text(text)
    words = [str(tmp_path / word) if word.startswith(("IN", "PATH")) else word for word in row.command.split()[1:]]
    assert main([*words, "--size", "8"]) == 0
    data = PackedDataset(tmp_path / "PATH")
    (label_set,) = data.description["label_sets"]
    tables = [data.labels(label_set, split) for split in row.splits]
    assert set(data.description["splits"]) == set(row.splits)
    assert {table.classes[k] for table in tables for k in table.label_M} == row.classes
    with (tmp_path / "PATH/faces.csv").open(encoding="utf-8", newline="") as file:
        assert {face["subject"] for face in csv.DictReader(file)} == row.subjects
