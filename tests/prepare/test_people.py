"""People held out by ``--hold-out-subjects``: who goes where, what is told, what is refused."""

import csv
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main as fecnet
from fecnet.data.packed import PackedDataset
from fecnet.prepare.people import parse_shares, people_of, split_people
from fecnet.utils.errors import DataError
from tests.prepare.trees import grow

NAMES = [f"p{k}" for k in range(40)]


def chosen(names, text="0.1,0.15", seed=0):
    return split_people(names, parse_shares(text), seed=seed, origin="here")


def test_the_first_share_is_val_the_second_test_and_one_alone_is_test():
    assert Counter(chosen(NAMES).values()) == {"train": 30, "val": 4, "test": 6}
    assert Counter(chosen(NAMES, "0.1").values()) == {"train": 36, "test": 4}
    assert Counter(chosen(NAMES[:10], "0.25,0.05").values()) == {"train": 6, "val": 3, "test": 1}


def test_who_is_held_out_depends_on_names_and_seed_alone():
    before = chosen(NAMES)
    assert chosen([*reversed(NAMES), *NAMES]) == before != chosen(NAMES, seed=1)
    for gone in NAMES[:15]:  # at most one other person crosses each border
        after = chosen([name for name in NAMES if name != gone])
        assert sum(after[name] != before[name] for name in after) <= 2
    test = {name for name, split in before.items() if split == "test"}
    assert {name for name, split in chosen(NAMES, "0.3,0.15").items() if split == "test"} == test


def test_a_stranger_is_a_person_of_its_own_and_nobody_else():
    assert len({*people_of(["a", "", "", "a"], ["1.png", "a", "2.png", "4.png"])}) == 3


@pytest.mark.parametrize(
    "text", ["0", "0.1,0", "1", "0.5,0.5", "-0.1", "nan", "inf", "0.1,0.1,0.1", "", "a", "0.1;0.2"]
)
def test_other_shares_are_refused(text):
    with pytest.raises(DataError, match=r"--hold-out-subjects .*; allowed: a share for test, or one for val and one"):
        parse_shares(text)


@pytest.mark.parametrize(
    ("num", "text", "said"),
    [
        (2, "0.3,0.3", "2 people; allowed: one or more for each of train, val, test"),
        (1, "0.5", "1 person; allowed: one or more for each of train, test"),
        (30, "0.01,0.3", "leaves split 'val' without a person, 0.01 of 30 people; allowed here: 0.017 or more"),
        (4, "0.4,0.5", "leaves split 'train' without a person, 4 people in all; allowed here: smaller shares"),
    ],
)
def test_no_split_is_left_empty(num, text, said):
    with pytest.raises(DataError) as error:
        chosen(NAMES[:num], text)
    assert str(error.value) == f"here: --hold-out-subjects {text}: {said}"


def write_list(folder, rows, header="path,label,subject"):
    """A list with a picture of its own for each row."""
    folder.mkdir()
    for k in range(len(rows)):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{k}.png")
    lines = [header, *(f"{k}.png,{row}" for k, row in enumerate(rows))]
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder / "list.csv"


def people_in(path):
    """The subjects and the sources of each split."""
    with (path / "faces.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    data = PackedDataset(path)
    rows = {split: data.labels("label", split).faces_M.tolist() for split in data.description["splits"]}
    return [{split: {records[row][key] for row in of} for split, of in rows.items()} for key in ("subject", "source")]


def prepare(*words):
    return fecnet(["prepare", *map(str, words), "--size", "8"])


ROWS = [f"{'happy' if k % 2 else 'sad'},person{k // 4}" for k in range(40)]


def test_people_of_a_list_are_held_out_before_triplets_are_made(tmp_path, capsys):
    out, words = tmp_path / "out", ("--hold-out-subjects", "0.2,0.3", "--triplets", "20", "--eval-triplets", "5")
    assert prepare("csv", write_list(tmp_path / "in", ROWS), out, *words) == 0
    subjects, _ = people_in(out)
    assert {split: len(of) for split, of in subjects.items()} == {"train": 5, "val": 2, "test": 3}
    assert len(set.union(*subjects.values())) == 10
    data = PackedDataset(out)
    for split in subjects:
        faces = {*data.triplets(split).faces_T3.ravel().tolist()}
        assert faces and faces <= {*data.labels("label", split).faces_M.tolist()}
    said = capsys.readouterr().out
    told = "held out by subject, seed 0: train 5 people (20 pictures), val 2 people (8 pictures), test 3 people (12 "
    assert told in said and "no subject" not in said and "warning" not in said
    assert data.coverage["held_out"]["people"] == {"test": 3, "train": 5, "val": 2}
    # the same people, whatever the order of the rows
    lines = (tmp_path / "in/list.csv").read_text().splitlines()
    (tmp_path / "in/list.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert prepare("csv", tmp_path / "in/list.csv", tmp_path / "again", *words) == 0
    assert people_in(tmp_path / "again")[0] == subjects
    assert prepare("csv", tmp_path / "in/list.csv", tmp_path / "other", *words, "--seed", "1") == 0
    assert people_in(tmp_path / "other")[0] != subjects


def test_rows_without_a_subject_are_strangers_which_is_told(tmp_path, capsys):
    rows = [*ROWS, "happy,", "sad,nan", *["happy,"] * 8]
    assert prepare("csv", write_list(tmp_path / "in", rows), tmp_path / "out", "--hold-out-subjects", "0.3") == 0
    assert "10 of 50 pictures have no subject: each is treated as a person of its own" in capsys.readouterr().out
    subjects, sources = people_in(tmp_path / "out")
    assert subjects["train"] & subjects["test"] == {""}  # strangers go to both
    assert not sources["train"] & sources["test"]
    coverage = PackedDataset(tmp_path / "out").coverage["held_out"]
    assert coverage == {
        "shares": {"test": 0.3},
        "seed": 0,
        "people": {"test": 6, "train": 14},
        "pictures_without_subject": 10,
    }


def test_folders_jaffe_kdef_and_ckplus_have_people(tmp_path):
    grow(tmp_path / "own", *(f"p{k}/{word}/1.png" for k in range(4) for word in ("happy", "sad")))
    grow(tmp_path / "jaffe", *(f"{who}.{word}1.1.tiff" for who in ("KA", "KL", "MK", "NA") for word in ("AN", "HA")))
    grow(tmp_path / "kdef", *(f"AF0{k}/AF0{k}{word}S.png" for k in range(1, 5) for word in ("AN", "HA")))
    grow(tmp_path / "ckplus", *(f"{word}/S01{k}_001_01.png" for k in range(4) for word in ("anger", "happy")))
    levels = ("--levels", "subject/class")
    for source, name, more in (
        ("folder", "own", levels),
        ("jaffe", "jaffe", ()),
        ("kdef", "kdef", ()),
        ("ckplus", "ckplus", ()),
    ):
        out = tmp_path / f"{name}.out"
        assert prepare(source, tmp_path / name, out, *more, "--hold-out-subjects", "0.25") == 0
        with (out / "faces.csv").open(newline="") as file:
            subject = [row["subject"] for row in csv.DictReader(file)]
        data = PackedDataset(out)
        (label_set,) = data.description["label_sets"]
        held, trained = (
            {subject[row] for row in data.labels(label_set, split).faces_M.tolist()} for split in ("test", "train")
        )
        assert (len(held), len(trained)) == (1, 3) and not held & trained


def test_names_of_folders_in_another_encoding_are_people_too(tmp_path):
    people = ("Ren\udce9", "p1", "p2")  # Latin-1
    grow(tmp_path / "in", *(f"{name}/{word}/1.png" for name in people for word in ("happy", "sad")))
    words = ("--levels", "subject/class", "--hold-out-subjects", "0.4")
    assert prepare("folder", tmp_path / "in", tmp_path / "out", *words) == 0
    assert set.union(*people_in(tmp_path / "out")[0].values()) == {"Ren\\xe9", "p1", "p2"}


def test_what_cannot_be_held_out_is_one_line_and_leaves_nothing(tmp_path, capsys):
    split = write_list(tmp_path / "split", ["a,p,train", "b,p,test", "a,q,train"], "path,label,subject,split")
    nobody = write_list(tmp_path / "nobody", ["a", "b", "a"], "path,label")
    own = write_list(tmp_path / "own", ROWS)
    alone = write_list(tmp_path / "alone", ["a,p", "b,p", "a,q", "b,q"])
    (held,) = [name for name, of in chosen(["p", "q"], "0.5").items() if of == "test"]
    for k in (0, 1) if held == "p" else (2, 3):
        (alone.parent / f"{k}.png").write_text("no picture")
    for listed, share, said in (
        (split, "0.2", "list.csv: --hold-out-subjects, but there are splits already: test, train; allowed: their own"),
        (nobody, "0.2", "list.csv: --hold-out-subjects, but no subjects are known; allowed: csv with a column"),
        (own, "1", "--hold-out-subjects 1; allowed: a share for test"),
        (own, "0.01", "leaves split 'test' without a person, 0.01 of 10 people; allowed here: 0.05 or more"),
        (alone, "0.5", "no picture of split 'test' can be read; allowed: larger shares, or another --seed"),
    ):
        assert prepare("csv", listed, tmp_path / "out", "--hold-out-subjects", share) == 2
        *bar, error = capsys.readouterr().err.splitlines()  # a bar where pictures were read
        assert said in error and error.startswith("error: ") and (not bar or listed == alone)
        assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]


def test_people_whom_a_list_puts_on_both_sides_are_told(tmp_path, capsys):
    rows = ["a,p,train", "b,q,train", "a,p,test", "b,r,test", "a,,test", "b,,train"]
    listed = write_list(tmp_path / "in", rows, "path,label,subject,split")
    assert prepare("csv", listed, tmp_path / "out") == 0
    assert "warning: subjects of train: 1, on 1 of 3 faces in split test" in capsys.readouterr().out
    assert PackedDataset(tmp_path / "out").coverage["warnings"] == {"test": "subjects of train: 1, on 1 of 3 faces"}
