"""RAF-DB as published, and its mirrors."""

import pytest

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.labelled.rafdb import RAFDB_CLASSES, RAFDB_COMPOUND_CLASSES, read_rafdb
from fecnet.utils.errors import DataError
from tests.prepare.trees import dropped, grow, read

NAMES = [*(f"train_{k:05d}.jpg" for k in range(1, 8)), *(f"test_{k:04d}.jpg" for k in range(1, 8))]  # one of each class


def aligned(name):
    return name.replace(".jpg", "_aligned.jpg")


def label(name):
    return int(name[-6:-4])  # 1..7


def right(source):
    """Whether each of the names has its class and its split."""
    found = {name.split("/")[-1].replace("_aligned", ""): place for name, place in read(source).items()}
    return found == {name: (RAFDB_CLASSES[label(name) - 1], name.split("_")[0], "") for name in NAMES}


def published(root, lines, where="EmoLabel/list_patition_label.txt"):
    grow(root, where)
    (root / where).write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    "where", ["EmoLabel/list_patition_label.txt", "list_partition_label.txt", "a/EmoLabel/list_patition_label.txt"]
)
@pytest.mark.parametrize(
    "line",
    [
        "{name} {label}",
        "{name},{label}.0",
        "{name}\t{label}",
        "{stem} {label}",
        "{name} {label} 0.9",
        "{aligned} {label}",
    ],
)
def test_lists(tmp_path, capsys, where, line):
    above = "a/" if where.startswith("a/") else ""
    grow(tmp_path, *(f"{above}Image/aligned/{aligned(name)}" for name in NAMES), f"{above}Image/original/{NAMES[0]}")
    lines = [line.format(name=name, stem=name[:-4], aligned=aligned(name), label=label(name)) for name in NAMES]
    assert right(read_rafdb(published(tmp_path, lines, where)))
    assert ("columns after image and label in 14 rows, not read" in capsys.readouterr().out) == line.endswith("0.9")


def test_a_list_without_aligned_in_the_names_of_its_pictures(tmp_path):
    grow(tmp_path, *(f"Image/aligned/{name}" for name in NAMES))
    assert right(read_rafdb(published(tmp_path, [f"{name} {label(name)}" for name in NAMES])))


def test_a_list_counted_from_zero_is_said(tmp_path, capsys):
    root = published(tmp_path, [f"{name} {label(name) - 1}" for name in NAMES])
    grow(root, *(f"Image/aligned/{aligned(name)}" for name in NAMES))
    assert right(read_rafdb(root))
    assert "labels count from 0, since there is a 0 and no 7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((0, 3, 7), "labels 0 and 7; allowed: 1 to 7, or 0 to 6, not both"),
        ((1, 3, 8), "labels 8; allowed: 1 to 7, or each of 1 to 11 for compound"),
        ((1, 12), "labels 12; allowed"),
        (("happy", "bored"), "unknown labels 'bored'; allowed: surprise, .*, or 1 to 7"),
    ],
)
def test_labels_of_neither_set_are_refused(tmp_path, labels, message):
    root = published(tmp_path, [f"train_{k:05d}.jpg {number}" for k, number in enumerate(labels)])
    with pytest.raises(DataError, match=message) as caught:
        read_rafdb(root)
    assert "\n" not in str(caught.value)


def test_words_instead_of_numbers(tmp_path):
    root = published(tmp_path, ["train_00001.jpg Happy", "test_0001.jpg surprised", "train_00002.jpg nan"])
    source = read_rafdb(root)
    assert sorted(read(source).values()) == [("happiness", "train", ""), ("surprise", "test", "")]
    assert dropped(source) == {"train": {"no_label": 1}}


@pytest.mark.parametrize("first", [1, 0])
@pytest.mark.parametrize("below", ["", "compound/"])
def test_compound_lists_are_a_set_of_their_own(tmp_path, capsys, first, below):
    """As many as the issue's list: four of each class, which were packed as seven basic classes."""
    names = [f"{below}Image/aligned/train_{k:04d}_aligned.jpg" for k in range(44)]
    lines = [f"train_{k:04d}.jpg {first + k % 11}" for k in range(44)]
    root = grow(published(tmp_path / "in", lines, f"{below}EmoLabel/list_patition_label.txt"), *names)
    assert main(["prepare", "rafdb", str(root), str(tmp_path / "out"), "--size", "8"]) == 0
    table = PackedDataset(tmp_path / "out").labels("rafdb_compound", "train")
    assert table.classes == RAFDB_COMPOUND_CLASSES
    assert sorted(table.label_M.tolist()) == sorted(k % 11 for k in range(44))
    assert "compound expressions, 11 classes" in capsys.readouterr().out


def test_a_part_of_a_compound_list_is_known_by_its_folder(tmp_path):
    source = read_rafdb(published(tmp_path / "compound", ["train_0001.jpg 1", "train_0002.jpg 3"]))
    assert sorted(place[0] for place in read(source).values()) == ["happily surprised", "sadly fearful"]


def test_both_parts_of_the_release_side_by_side(tmp_path, capsys):
    for part in ("basic", "compound"):
        published(tmp_path, ["train_00001.jpg 4"], f"{part}/EmoLabel/list_patition_label.txt")
    assert [place[0] for place in read(read_rafdb(tmp_path)).values()] == ["happiness"]
    assert "2 lists; read: that of the folder basic" in capsys.readouterr().out
    assert [place[0] for place in read(read_rafdb(tmp_path / "compound")).values()] == ["sadly angry"]


def mirror(root, *, names=NAMES, folder=label, header="image,label", row="{name},{label}", above="DATASET/"):
    """The class-folder mirror: ``DATASET/train/5/train_00001_aligned.jpg`` and the two lists beside."""
    grow(root, *(f"{above}{name.split('_')[0]}/{folder(name)}/{aligned(name)}" for name in names))
    for split in ("train", "test"):
        rows = [row.format(name=aligned(name), label=label(name)) for name in names if name.startswith(split)]
        (root / f"{split}_labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"above": ""},
        {"folder": lambda name: RAFDB_CLASSES[label(name) - 1]},
        {"folder": lambda name: label(name) - 1},
        {"header": ",image,label", "row": "7,{name},{label}.0"},
        {"header": "image,label,emotion", "row": "{name},{label},x"},
        {"header": "File Name,expression", "row": "{name},{label}"},
    ],
)
def test_the_mirror_with_lists(tmp_path, keywords):
    assert right(read_rafdb(mirror(tmp_path, **keywords)))


def test_a_mirror_that_names_its_pictures_without_aligned(tmp_path):
    root = mirror(tmp_path)
    for picture in root.rglob("*_aligned.jpg"):
        picture.rename(picture.with_name(picture.name.replace("_aligned", "")))
    assert right(read_rafdb(root))


@pytest.mark.parametrize("first", [1, 0])
def test_the_mirror_without_lists(tmp_path, capsys, first):
    names = [f"DATASET/{name.split('_')[0]}/{label(name) - 1 + first}/{aligned(name)}" for name in NAMES]
    assert right(read_rafdb(grow(tmp_path, *names)))
    assert ("labels count from 0" in capsys.readouterr().out) == (first == 0)


def test_the_mirror_in_words(tmp_path):
    words = ("surprised", "Fear", "disgusted", "happy", "sad", "Angry", "neutral")
    grow(tmp_path, *(f"{name.split('_')[0]}/{words[label(name) - 1]}/{aligned(name)}" for name in NAMES))
    assert right(read_rafdb(tmp_path))


def test_compound_class_folders(tmp_path):
    grow(tmp_path / "a", "train/Happily_Surprised/1.jpg", "train/sadly fearful/2.jpg")
    grow(tmp_path / "b", *(f"train/{k}/{k}.jpg" for k in range(1, 12)))
    assert [picture.label for picture in read_rafdb(tmp_path / "a").pictures] == [0, 2]
    source = read_rafdb(tmp_path / "b")
    assert (source.name, len({picture.label for picture in source.pictures})) == ("rafdb_compound", 11)


def test_pictures_that_the_lists_do_not_name_are_counted(tmp_path):
    source = read_rafdb(grow(mirror(tmp_path), "DATASET/test/1/test_0099_aligned.jpg"))
    assert right(source) and dropped(source) == {"test": {"not_in_the_list": 1}}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "train_labels.csv",
            "image,label\ntrain_00003_aligned.jpg,4\n",
            "line 2: label 4, but the image is DATASET/train/3/",
        ),
        (
            "test_labels.csv",
            "image,label\ntrain_00001_aligned.jpg,1\n",
            "line 2: train_.*; allowed: images of split test",
        ),
        ("train_labels.csv", "picture,number\n", "no column label; seen: picture, number"),
        ("more/val_labels.csv", "image,label\n", "several lists: more/val_labels.csv"),
    ],
)
def test_lists_that_disagree_are_refused(tmp_path, file, text, message):
    root = grow(mirror(tmp_path), file)
    (root / file).write_text(text)
    with pytest.raises(DataError, match=message):
        read_rafdb(root)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    root = grow(mirror(tmp_path), "copies/train_00001.jpg")
    with pytest.raises(
        DataError, match=r"train_00001_aligned.jpg is each of DATASET/train/1/.*, copies/train_00001.jpg"
    ):
        read_rafdb(root)


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "data/rafdb.csv"])
def test_one_list_of_any_name(tmp_path, name):
    rows = [f"{name},{label(name)}" for name in NAMES]
    grow(tmp_path, name, *(f"images/{aligned(name)}" for name in NAMES))
    text = "\n".join(["filename,emotion", *rows])
    (tmp_path / name).write_text(text.replace(",", "\t") if name.endswith(".tsv") else text)
    assert right(read_rafdb(tmp_path))


def test_a_list_of_another_name_is_compared_with_the_class_folders(tmp_path):
    grow(tmp_path, "train/1/train_1.jpg", "train.csv")
    (tmp_path / "train.csv").write_text("image,label\ntrain_1.jpg,4\n")
    with pytest.raises(DataError, match=r"train\.csv: line 2: label 4, but the image is train/1/train_1\.jpg"):
        read_rafdb(tmp_path)


def test_a_list_that_is_passed_over_is_said(tmp_path, capsys):
    root = published(tmp_path, ["train_1.jpg 4"], "list_patition_label.txt")
    (root / "train_labels.csv").write_text("image,label\ntrain_1.jpg,1\n")
    assert [place[0] for place in read(read_rafdb(root)).values()] == ["happiness"]
    assert "reads list_patition_label.txt; not train_labels.csv" in capsys.readouterr().out


def test_compound_words_in_a_list(tmp_path):
    source = read_rafdb(published(tmp_path, ["train_1.jpg Happily_Surprised", "train_2.jpg sadly-angry"]))
    assert (source.name, [picture.label for picture in source.pictures]) == ("rafdb_compound", [0, 3])


def test_a_table_of_the_classes_is_no_list(tmp_path):
    grow(tmp_path, "train/1/train_1.jpg", "classes.csv")
    (tmp_path / "classes.csv").write_text("name,label\nsurprise,1\nfear,2\n")
    assert [place[0] for place in read(read_rafdb(tmp_path)).values()] == ["surprise"]
