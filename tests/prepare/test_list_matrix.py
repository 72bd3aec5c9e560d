"""Each row of the table of layouts in docs/data.md that lists decide, run on a small copy."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.ferplus import prepare_ferplus
from tests.prepare.test_affectnet import HEADER, annotate
from tests.prepare.test_fer2013_csv import write_csv_files
from tests.prepare.test_folder_matrix import ROWS as FOLDER_ROWS
from tests.prepare.test_folder_matrix import rows_of_the_page
from tests.prepare.test_labelled_layouts import fer_row, save, write
from tests.prepare.test_pixel_layouts import ALL_USAGES, few, generated, pixel_csv

FER_SPLITS = ("train", "public_test", "private_test")


def challenge(folder):
    rows = [
        fer_row(emotion, seed, usage).split(",")
        for seed, (emotion, usage) in enumerate(zip((3, 6, 0), ALL_USAGES, strict=True))
    ]
    lines = [f"{emotion}, {usage}, {pixels}" for emotion, pixels, usage in rows]
    write(folder / "icml_face_data.csv", "\n".join(["emotion, Usage, pixels", *lines]))
    pixel_csv(folder / "train.csv", [3])
    write(folder / "test.csv", f"pixels\n{rows[1][1]}\n")


def plus(folder):
    images, arrays = few()
    write_csv_files(folder, arrays, images)
    (folder / "FERPlus-master").mkdir()
    (folder / "fer2013new.csv").rename(folder / "FERPlus-master/fer2013new.csv")


def published_ckplus(folder):
    save(folder / "cohn-kanade-images/S005/001/S005_001_00000011.png")
    write(folder / "Emotion/S005/001/S005_001_00000011_emotion.txt", "   3.0000000e+00\n")


def lists_of_affectnet(folder, lists, top):
    for split, seed in (("training", 1), ("validation", 2)):
        write(folder / f"{lists}{split}.csv", f"{HEADER}\n{top}{seed}/a.jpg,0,0,12,12,1;2,{seed},0.5,0.5\n")
        save(folder / f"Manually_Annotated_Images/{seed}/a.jpg", seed)


def arrays_of_affectnet(folder):
    annotate(folder / "train_set", "0", "1")
    annotate(folder / "val_set", "0", "2")


def mirror_of_affectnet(folder):
    write(folder / "labels.csv", ",pth,label,relFCs\n0,anger/1.jpg,surprise,0.8\n1,anger/2.jpg,anger,0.7\n")
    save(folder / "Train/anger/1.jpg", 1)
    save(folder / "Test/anger/2.jpg", 2)


def mirror_of_rafdb(folder):
    write(folder / "train_labels.csv", "filename,emotion\ntrain_00001_aligned.jpg,4\n")
    save(folder / "train/4/train_00001_aligned.jpg")


def copy_of_affectnet(folder):
    write(folder / "train.csv", "image,x1,y1,x2,y2,exp,val,aro\na.jpg,1,1,9,9,1,0.5,0.5\n")
    save(folder / "a.jpg")


def expw(folder):
    write(folder / "label/label.lst", "a.jpg 0 0 0 12 12 60.5 3\n")
    save(folder / "image/origin/a.jpg")


def any_list(folder, text):
    write(folder / "list.csv", text)
    for seed, name in enumerate("ab"):
        save(folder / f"{name}.png", seed)


class Row(NamedTuple):
    """What the row says of the release at its start, its command, what makes the files, and what becomes of them."""

    release: str
    command: str
    make: Callable[[Path], object]
    classes: dict[str, set[str]]  # that have faces, by split
    label_set: str


def fer(*words):
    return {split: {word} for split, word in zip(FER_SPLITS, words, strict=False)}


VOTES = {"train", "public_test", "private_test"}
ALL_EIGHT = {"neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"}
AFFECT = {"train": {"happy"}, "val": {"sad"}}
ROWS = [
    Row(
        "`fer2013/fer2013.csv`",
        "fer2013 IN",
        lambda folder: pixel_csv(folder / "fer2013/fer2013.csv", [3, 6, 0], ALL_USAGES),
        fer("happy", "neutral", "angry"),
        "fer",
    ),
    Row("challenge: `icml_face_data.csv`", "fer2013 IN", challenge, fer("happy", "neutral", "angry"), "fer"),
    Row("challenge: `train.csv` alone", "fer2013 IN/train.csv", challenge, fer("happy"), "fer"),
    Row("`fer2013.csv`, `FERPlus-master", "ferplus IN", plus, dict.fromkeys(VOTES, ALL_EIGHT), "ferplus"),
    Row(
        "generator: `FER2013Train",
        "ferplus IN",
        lambda folder: generated(folder, *few()),
        dict.fromkeys(VOTES, ALL_EIGHT),
        "ferplus",
    ),
    Row(
        "mirror: `Labels/FER2013Train",
        "ferplus IN",
        lambda folder: generated(folder, *few(), labels="Labels", pictures="Images"),
        dict.fromkeys(VOTES, ALL_EIGHT),
        "ferplus",
    ),
    Row(
        "`ckextended.csv`",
        "ckplus IN",
        lambda folder: pixel_csv(folder / "ckextended.csv", [6, 7, 0], ALL_USAGES),
        fer("neutral", "contempt", "anger"),
        "ckplus",
    ),
    Row("`cohn-kanade-images/", "ckplus IN", published_ckplus, {"all": {"disgust"}}, "ckplus"),
    Row(
        "`Manually_Annotated_file_lists/",
        "affectnet IN",
        lambda folder: lists_of_affectnet(folder, "Manually_Annotated_file_lists/", ""),
        AFFECT,
        "affectnet",
    ),
    Row(
        "`training.csv` with",
        "affectnet IN",
        lambda folder: lists_of_affectnet(folder, "", "Manually_Annotated_Images/"),
        AFFECT,
        "affectnet",
    ),
    Row("arrays: `train_set", "affectnet IN", arrays_of_affectnet, AFFECT, "affectnet"),
    Row("mirror `train_labels.csv`", "rafdb IN", mirror_of_rafdb, {"train": {"happiness"}}, "rafdb"),
    Row("copy: `train.csv`", "affectnet IN", copy_of_affectnet, {"train": {"happy"}}, "affectnet"),
    Row(
        "mirror: `labels.csv`",
        "affectnet IN",
        mirror_of_affectnet,
        {"train": {"surprise"}, "test": {"anger"}},
        "affectnet",
    ),
    Row("`label/label.lst`", "expw IN", expw, {"all": {"happy"}}, "expw"),
    Row(
        "list with an unnamed index",
        "csv IN/list.csv",
        lambda folder: any_list(folder, ",image,emotion\n0,a.png,3.0\n1,b.png,\n"),
        {"all": {"3"}},
        "label",
    ),
    Row(
        "list with two possible columns",
        "csv IN/list.csv --path-column file --label-column emotion",
        lambda folder: any_list(folder, "file,image,class,emotion\na.png,x,1,happy\n"),
        {"all": {"happy"}},
        "label",
    ),
    Row(
        "list with absolute paths",
        "csv IN/list.csv --allow-absolute",
        lambda folder: any_list(folder, f"path,label\n{folder}/a.png,happy\n"),
        {"all": {"happy"}},
        "label",
    ),
    Row(
        "list with votes",
        "csv IN/list.csv --votes happy,sad",
        lambda folder: any_list(folder, "path,happy,sad\na.png,3,1\n"),
        {"all": {"happy"}},
        "votes",
    ),
]


def test_every_row_of_the_page_is_here():
    for (release, command), row in zip(rows_of_the_page()[len(FOLDER_ROWS) :], ROWS, strict=True):
        source, path, *options = row.command.split(" ", 2)
        assert release.startswith(row.release)
        assert command == " ".join(["`fecnet prepare", source, path, "PATH", *options]) + "`"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.release.replace("`", "")[:30])
def test_layout(tmp_path, row, monkeypatch):
    row.make(tmp_path / "IN")
    images, _ = few()
    few_triplets = {"num_train_triplets": 30, "num_eval_triplets": 9}
    for name, value in {"images_sha256": hashlib.sha256(images.tobytes()).hexdigest(), **few_triplets}.items():
        monkeypatch.setitem(prepare_ferplus.__kwdefaults__, name, value)
    source, path, *options = row.command.split(" ")
    words = ["prepare", source, str(tmp_path / path), str(tmp_path / "PATH"), *options]
    assert main(words if source == "ferplus" else [*words, "--size", "8"]) == 0
    data = PackedDataset(tmp_path / "PATH")
    assert row.label_set in data.description["label_sets"]
    tables = {split: data.labels(row.label_set, split) for split in data.description["splits"]}
    assert {split: {table.classes[label] for label in table.label_M} for split, table in tables.items()} == row.classes
