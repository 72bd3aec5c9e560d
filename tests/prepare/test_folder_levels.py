"""Which folders are splits, classes or subjects."""

import pytest

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.fer2013 import FER_CLASSES
from fecnet.prepare.labelled.fer2013_labels import read_fer2013_labels
from fecnet.prepare.labelled.split_words import split_name
from fecnet.utils.errors import DataError
from tests.prepare.trees import dropped, grow, places, read

TWO = [("happy", "train"), ("happy", "val"), ("sad", "train"), ("sad", "val")]
READERS = [read_folder, read_fer2013_labels]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        *(("train_set", "train"), ("TRAIN", "train"), ("trainset", "train"), ("Training Data", "train")),
        *(
            ("train-images", "train"),
            ("TrainImages", "train"),
            ("train2017", "train"),
            ("Train_Aligned_Faces", "train"),
        ),
        *(("Dev", "val"), ("val_set", "val"), ("validation", "val"), ("Val_Aligned_Faces_new", "val")),
        *(("testing", "test"), ("PublicTest", "public_test"), ("private_test", "private_test"), ("evaluation", "eval")),
        *(("Fold 1", "fold_1"), ("fold_03", "fold_3"), ("fold2", "fold_2"), ("fold", None), ("fold_1_2", None)),
        *(("happy", None), ("training_station", None), ("train_test", None), ("images", None), ("", None), ("1", None)),
    ],
)
def test_words_of_splits(text, split):
    assert split_name(text) == split


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("train", "val"),
    [
        *(("train_set", "val_set"), ("Train", "Dev"), ("training", "validation"), ("train-images", "valid-images")),
        *(("archive/data/train", "archive/data/val"), ("FER2013Train", "FER2013Valid"), ("raf_train", "raf_val")),
        *(("Train/Train_Aligned_Faces", "Val/Val_Aligned_Faces_new"), ("images/train", "images/val")),
        *(("train/images", "valid/images"), ("TRAINING DATA", "VALIDATION DATA")),
    ],
)
def test_splits_above_the_classes(tmp_path, reader, train, val):
    grow(tmp_path, *(f"{split}/{word}/{split[-1]}.jpg" for split in (train, val) for word in ("happy", "sad")))
    assert places(reader(tmp_path)) == TWO


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("above", ["", "archive/"])
def test_splits_below_the_classes(tmp_path, reader, above):
    grow(tmp_path, *(f"{above}{word}/{split}/1.jpg" for split in ("Train", "Dev") for word in ("happy", "sad")))
    assert places(reader(tmp_path)) == TWO


@pytest.mark.parametrize("reader", READERS)
def test_what_systems_and_detectors_leave_is_no_class(tmp_path, reader, capsys):
    splits, words = ("train", "val"), ("happy", "sad")
    grow(tmp_path, *(f"images/{split}/{word}/1.jpg" for split in splits for word in words))
    grow(tmp_path, *(f"labels/{split}/{word}/1.txt" for split in splits for word in words))
    grow(tmp_path, "__MACOSX/images/train/happy/._1.jpg", "__MACOSX/x/1.jpg", ".DS_Store", "Thumbs.db", "classes.txt")
    grow(tmp_path, "images/train/happy/Thumbs.db", "images/.ipynb_checkpoints/1.jpg", "images/train/notes.txt")
    source = reader(tmp_path)
    assert places(source) == TWO
    assert dropped(source) == {"train": {"not_a_picture": 3}, "val": {"not_a_picture": 2}}
    assert "folders without a picture: labels" in capsys.readouterr().out


@pytest.mark.parametrize("names", [["train/1.jpg", "val/2.jpg"], ["train/images/1.jpg", "val/images/2.jpg"], ["1.jpg"]])
@pytest.mark.parametrize("reader", READERS)
def test_a_detectors_folders_have_no_classes(tmp_path, reader, names):
    grow(tmp_path, *names, "labels/train/1.txt")
    with pytest.raises(DataError, match=r"name no class|no folder is named|pictures without folders"):
        reader(tmp_path)


def test_folds_are_splits(tmp_path):
    grow(tmp_path, "fold_1/a/1.jpg", "Fold-02/b/1.jpg")
    assert places(read_folder(tmp_path)) == [("a", "fold_1"), ("b", "fold_2")]


def test_folders_of_one_split_are_said(tmp_path, capsys):
    grow(tmp_path, "train_1/a/1.jpg", "train_2/a/1.jpg", "dev/b/1.jpg")
    assert places(read_folder(tmp_path)) == [("a", "train"), ("b", "val")]
    assert (
        "read as split/class (val is dev, train is train_1 and train_2); classes: 0 a, 1 b" in capsys.readouterr().out
    )


def test_a_split_without_class_folders_is_counted(tmp_path):
    """The test part of a challenge has no labels."""
    grow(tmp_path, "Train/Angry/1.png", "Val/Happy/1.png", "Test/1.png", "Test/2.png")
    source = read_folder(tmp_path)
    assert places(source) == [("Angry", "train"), ("Happy", "val")]
    assert dropped(source) == {"test": {"not_in_a_class_folder": 2}}


@pytest.mark.parametrize(
    ("names", "readings"),
    [
        (
            ["train/happy/1.jpg", "test/happy/1.jpg", "extra/sad/1.jpg"],
            ["--levels class: class extra test train", "--levels split/class: split extra test train, class happy sad"],
        ),
        (
            ["P001/Anger/1.jpg", "P002/Happiness/1.jpg"],
            ["--levels subject/class: subject P001 P002, class Anger Happiness", "--levels class: class P001 P002"],
        ),
        (
            ["train/P1/Anger/1.jpg", "val/P2/Sad/1.jpg"],
            ["--levels split/subject/class: split train val, subject P1 P2", "--levels split/class: split train val"],
        ),
        (["a/x/1.jpg", "b/y/1.jpg"], ["--levels class: class a b", "--levels -/class: class x y"]),
        (
            ["fold_1/train/a/1.jpg", "fold_1/val/a/1.jpg", "fold_2/train/a/1.jpg"],
            [
                "--levels split/-/class: split fold_1 fold_2, class a",
                "--levels -/split/class: split train val, class a",
            ],
        ),
        (["a/train/1.jpg", "b/1.jpg"], ["--levels class/split: class a b", "--levels class: class a b"]),
        (["images/1.jpg", "happy/1.jpg"], ["--levels class: class happy images"]),
        (["val/happy/1.jpg", "val/train/1.jpg"], ["--levels split/class: split val, class happy train"]),
    ],
)
def test_two_readings_are_shown_and_either_can_be_chosen(tmp_path, capsys, names, readings):
    grow(tmp_path / "in", *names)
    assert main(["prepare", "folder", str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and all(reading in told for reading in readings)
    for reading in readings:
        assert len(read_folder(tmp_path / "in", reading.split()[1].rstrip(":")).pictures) >= 1


def test_levels_in_any_order(tmp_path):
    grow(
        tmp_path, "x/Test/P1/happy/deep/1.jpg", "x/Train/P2/Happiness/1.jpg", "x/Train/P2/2.jpg", "x/extra/P3/sad/1.jpg"
    )
    source = read_folder(tmp_path, "-/split/subject/class")
    assert read(source) == {
        "x/Test/P1/happy/deep/1.jpg": ("happiness", "test", "P1"),
        "x/Train/P2/Happiness/1.jpg": ("happiness", "train", "P2"),
        "x/extra/P3/sad/1.jpg": ("sad", "extra", "P3"),
    }
    assert dropped(source) == {"train": {"not_in_a_class_folder": 1}}


@pytest.mark.parametrize("above", ["", "FERG_DB_256/"])
def test_ferg_names_the_person_twice(tmp_path, above):
    grow(
        tmp_path,
        *(f"{above}{who}/{who}_{word}/{who}_{word}_1.png" for who in ("aia", "ray") for word in ("joy", "anger")),
    )
    with pytest.raises(DataError, match="subject/class: subject aia ray, class aia_anger aia_joy"):
        read_folder(tmp_path)
    source = read_folder(tmp_path, "-/subject/class" if above else "subject/class")
    assert source.classes == ("anger", "joy")
    assert read(source)[f"{above}ray/ray_joy/ray_joy_1.png"] == ("joy", "all", "ray")


def test_oulu_casia_packs_people_as_subjects(tmp_path):
    grow(tmp_path / "in", *(f"P00{k}/{word}/000.jpeg" for k in (1, 2) for word in ("Anger", "Happiness")))
    command = [
        "prepare",
        "folder",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "--levels",
        "subject/class",
        "--size",
        "8",
    ]
    assert main(command) == 0
    assert PackedDataset(tmp_path / "out").labels("label", "all").classes == ("Anger", "Happiness")
    assert {line.split(",")[3] for line in (tmp_path / "out/faces.csv").read_text().splitlines()[1:]} == {
        "P001",
        "P002",
    }


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        *(
            ("split", "allowed: class once"),
            ("class/class", "allowed: class once"),
            ("person/class", "allowed: class once"),
        ),
        *(("", "allowed: class once"), ("-/-/class", "but the deepest picture is train/a b/1.jpg")),
        ("class/split", "split folders a b; allowed: letters, digits and underscores"),
    ],
)
def test_levels_that_do_not_fit(tmp_path, levels, message):
    with pytest.raises(DataError, match=message):
        read_folder(grow(tmp_path, "train/a b/1.jpg"), levels)


def test_forms_of_a_class_are_one_class(tmp_path, capsys):
    grow(
        tmp_path, "train/happy/1.jpg", "test/Happiness/1.jpg", "train/Zorn/1.jpg", "test/zorn/1.jpg", "train/sad/1.jpg"
    )
    source = read_folder(tmp_path)
    assert source.classes == ("happiness", "sad", "zorn")
    assert "labels 'Happiness', 'happy' are read as class happiness" in (told := capsys.readouterr().out)
    assert "read as split/class; classes: 0 happiness, 1 sad, 2 zorn" in told


def test_numbered_classes_are_ordered_by_value(tmp_path):
    assert read_folder(grow(tmp_path, "10/1.jpg", "2/1.jpg", "1/1.jpg")).classes == ("1", "2", "10")


def test_known_classes_in_any_form(tmp_path):
    words = ("Angry", "disgusted", "FEAR", "3_happy", "sadness", "surprised", "Neutral")
    source = read_fer2013_labels(grow(tmp_path, *(f"train/{word}/1.jpg" for word in words)))
    labels = {picture.source.split("/")[1]: picture.label for picture in source.pictures}
    assert labels == {word: place for place, word in enumerate(words)}


@pytest.mark.parametrize(("first", "said"), [(0, False), (1, True)])
def test_known_classes_by_number(tmp_path, capsys, first, said):
    source = read_fer2013_labels(grow(tmp_path, *(f"train/{first + k}/1.jpg" for k in range(7))))
    assert [source.classes[picture.label] for picture in source.pictures] == list(FER_CLASSES)
    assert ("labels count from 1" in capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/happy/1.jpg", "train/odd/1.jpg", "test/bored/1.jpg"], "unknown labels 'bored', 'odd'; allowed: angry"),
        (["train/happy/1.jpg", "train/contempt/1.jpg"], "unknown labels 'contempt'; allowed: angry"),
        (["train/0/1.jpg", "train/8/1.jpg"], "class folders 8; allowed: .* or 0 to 6"),
        (["train/0/1.jpg", "train/7/1.jpg"], "labels 0 and 7; allowed: 1 to 7, or 0 to 6"),
        (["train/happy/1.jpg", "more/happy/1.jpg"], "folders more name no split; allowed: train, val, test"),
        (["train/zorn/1.jpg"], "no folder is named after a class; seen: train; allowed: angry, .*, or 0 to 6"),
    ],
)
def test_unknown_words_of_a_known_set_are_listed(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_fer2013_labels(grow(tmp_path, *names))


def test_empty_classes_are_warned_of_on_the_screen_and_in_the_coverage(tmp_path, capsys):
    grow(tmp_path / "in", "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "train/c/", "train/d/notes.txt")
    assert main(["prepare", "folder", str(tmp_path / "in"), str(tmp_path / "out"), "--size", "8"]) == 0
    warnings = {"train": "no face of c", "test": "no face of b, c"}
    assert PackedDataset(tmp_path / "out").coverage["warnings"] == warnings
    told = capsys.readouterr().out
    assert all(f"warning: {text} in split {split}" in told for split, text in warnings.items())


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path):
    grow(tmp_path / "elsewhere", "1.jpg")
    grow(tmp_path / "in", "a/1.jpg")
    (tmp_path / "in/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/a/again").symlink_to(tmp_path / "in")
    assert places(read_folder(tmp_path / "in")) == [("a", "all"), ("b", "all")]


@pytest.mark.parametrize("names", [("train_happy", "train_sad", "test_happy"), ("happy-train", "sad-train", "sad-val")])
def test_folders_that_name_split_and_class_in_one_are_refused(tmp_path, names):
    with pytest.raises(DataError, match=r"name split and class in one; allowed: <split>/<class>"):
        read_folder(grow(tmp_path, *(f"{name}/{name}.jpg" for name in names)))


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "fer.zip").touch()
    with pytest.raises(DataError, match=r"fer\.zip: a file; expected: a folder; unpack archives first"):
        read_folder(tmp_path / "fer.zip")
