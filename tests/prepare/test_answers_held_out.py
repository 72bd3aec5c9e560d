"""People held out of a table of raters' answers."""

import logging

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.people import parse_shares
from fecnet.prepare.rater_answers import ANSWER_REASONS, read_answers
from fecnet.utils.errors import DataError

HEADER = "a,b,c,odd,rater,subject_a,subject_b,subject_c"


def table(tmp_path, rows, header=HEADER):
    path = tmp_path / "answers.csv"
    path.write_text("\n".join([header, *rows]))
    return path


def families(number=10):
    """Two answers for each of two triplets of every family of one person, and one across each two families."""
    rows = []
    for k in range(number):
        person, other = f"p{k}", f"p{(k + 1) % number}"
        for rater in ("ann", "bob"):
            rows.append(f"{k}/1.jpg,{k}/2.jpg,{k}/3.jpg,1,{rater},{person},{person},{person}")
            rows.append(f"{k}/1.jpg,{k}/2.jpg,{k}/4.jpg,{'1' if rater == 'ann' else '2'},{rater},{person},,{person}")
        rows.append(f"{k}/1.jpg,{k}/2.jpg,{(k + 1) % number}/1.jpg,3,eve,{person},{person},{other}")
    return rows


def people_in(tables):
    return {split: {table.urls[photo].split("/")[0] for photo in table.face_photo_F} for split, table in tables.items()}


def test_nobody_stands_in_two_splits_and_every_row_is_counted(tmp_path, caplog):
    path, rows = table(tmp_path, families()), families()
    with caplog.at_level(logging.INFO):
        found = read_answers(path, hold_out_subjects=parse_shares("0.2,0.3"), progress=False)
    people = people_in(found)
    assert {split: len(names) for split, names in people.items()} == {"train": 5, "val": 2, "test": 3}
    assert not (people["train"] & people["val"] or people["train"] & people["test"] or people["val"] & people["test"])
    coverage = {split: part.coverage for split, part in found.items()}
    assert sum(part["read"] for part in coverage.values()) == len(rows)
    for split, part in coverage.items():
        assert part["read"] == part["kept"] + sum(part["dropped"].values())
        assert part["dropped"]["tie"] == 2 * len(people[split])  # the second triplet of each family
    across = coverage["train"]["dropped"]["across_splits"]
    inside = sum(len(part.faces_T3) for part in found.values()) - 10
    assert across > 0 and across + inside == 10
    assert "held out by subject, seed 0: train 5 people (" in caplog.text


def test_the_order_of_rows_does_not_matter_and_the_seed_does(tmp_path):
    def split(rows, seed):
        options = {"hold_out_subjects": parse_shares("0.3"), "seed": seed, "progress": False}
        return people_in(read_answers(table(tmp_path, rows), **options))

    rows = families()
    assert split(rows, 0) == split(rows[::-1], 0)
    assert len({tuple(sorted(split(rows, seed)["test"])) for seed in range(5)}) > 1


def test_a_face_without_a_subject_is_a_stranger_and_told(tmp_path, caplog):
    rows = [f"{k}/1.jpg,{k}/2.jpg,{k}/3.jpg,1,ann,p{k},p{k},{'' if k == 9 else f'p{k}'}" for k in range(10)]
    with caplog.at_level(logging.INFO):
        found = read_answers(table(tmp_path, rows), hold_out_subjects=parse_shares("0.3"), progress=False)
    assert "1 of 30 faces without a subject" in caplog.text
    assert sum(part.coverage["read"] for part in found.values()) == 10


@pytest.mark.parametrize(
    ("rows", "header", "shares", "said"),
    [
        (["1,2,3,1,ann,p,q,r,test"], f"{HEADER},split", "0.2", "there are splits already: test; allowed: a table"),
        (["1,2,3,1,ann"], "a,b,c,odd,rater", "0.2", "no subjects are known; allowed: subject_a"),
        (["1,2,3,1,ann,p,p,p"], HEADER, "0.2", "1 person; allowed: one or more for each of train, test"),
        (
            ["1,2,3,1,ann,p,q,r"],
            HEADER,
            "0.4",
            "leaves split 'train' without a triplet: all three people must be in it",
        ),
        (families(4), HEADER, "0.01", "leaves split 'test' without a person, 0.01 of"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, rows, header, shares, said):
    with pytest.raises(DataError, match=rf"^[^\n]*answers.csv: --hold-out-subjects[^\n]*{said}[^\n]*$"):
        read_answers(table(tmp_path, rows, header), hold_out_subjects=parse_shares(shares), progress=False)


def test_without_the_option_no_reason_is_added(tmp_path):
    found = read_answers(table(tmp_path, families(2)), progress=False)
    assert set(found["train"].coverage["dropped"]) == set(ANSWER_REASONS)


def test_people_on_both_sides_of_the_table_s_own_splits_are_told(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in "123456":
        Image.fromarray(np.full((16, 16, 3), int(name), np.uint8)).save(tmp_path / f"photos/{name}.png")
    rows = ["1.png,2.png,3.png,1,ann,p,q,,train", "4.png,5.png,6.png,1,ann,p,q,p,test", "4.png,1.png,6.png,1,b,,,,val"]
    given = [str(table(tmp_path, rows[:1], f"{HEADER},split")), str(tmp_path / "photos"), str(tmp_path / "set")]
    words = ["--size", "16", "--workers", "1", "--overwrite"]
    assert main(["prepare", "triplets", *given, *words]) == 0
    assert "warning" not in capsys.readouterr().out
    table(tmp_path, rows, f"{HEADER},split")
    assert main(["prepare", "triplets", *given, *words]) == 0
    said = capsys.readouterr().out
    told = {"test": "subjects of train: 2, on 3 of 3 faces", "val": "subjects of train: 1, on 3 of 3 faces"}
    assert all(f"set: warning: {text} in split {split}\n" in said for split, text in told.items())
    assert PackedDataset(tmp_path / "set").coverage["warnings"] == told
