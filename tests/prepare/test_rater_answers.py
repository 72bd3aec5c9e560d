"""Answers of raters in a table: what is read, and what is refused."""

import numpy as np
import pytest

from fecnet.prepare import answer_rows
from fecnet.prepare.answer_rows import AnswerTable
from fecnet.prepare.rater_answers import read_answers
from fecnet.utils.errors import DataError

HEADER = "a,b,c,odd,rater"


def read(tmp_path, *lines, **options):
    path = tmp_path / "answers.csv"
    path.write_text("\n".join(lines))
    return read_answers(path, progress=False, **options)


def answers_of(table):
    """By triplet, the name of the face that each annotator chose."""
    found = []
    for t, faces_3 in enumerate(table.faces_T3):
        part = slice(table.answer_offset[t], table.answer_offset[t + 1])
        names = [table.urls[table.face_photo_F[face]] for face in faces_3]
        found.append({int(rater): names[a] for rater, a in zip(table.annotator[part], table.answer[part], strict=True)})
    return found


def test_rows_of_the_same_faces_in_any_order_are_one_triplet(tmp_path):
    """Every answer is kept, whether the odd one is given by name, place or number."""
    found = read(
        tmp_path, HEADER, "x.jpg,in\\y.jpg,z.jpg,z.jpg,ann", "in/y.jpg,z.jpg,x.jpg,B,bob", "z.jpg,x.jpg,in/y.jpg,3,eve",
        "", "x.jpg,z.jpg,w.jpg,./w.jpg,bob", "w.jpg,z.jpg,x.jpg,1,ann", "x.jpg,z.jpg,w.jpg,2.0,dan",
    )  # fmt: skip
    table = found["train"]
    assert table.urls == ["x.jpg", "in/y.jpg", "z.jpg", "w.jpg"]
    assert table.faces_T3.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert answers_of(table) == [
        {0: "z.jpg", 1: "z.jpg", 2: "in/y.jpg"},
        {1: "w.jpg", 0: "w.jpg", 3: "z.jpg"},
    ]
    assert table.votes_T3.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert table.odd_T.tolist() == [2, 2] and table.type_T.tolist() == [1, 1] and table.line_T.tolist() == [2, 6]
    assert np.isnan(table.face_box_F4).all()
    assert table.coverage["read"] == table.coverage["kept"] == 6


def test_optional_columns_in_any_order(tmp_path):
    found = read(
        tmp_path,
        "Rater ID;type;face_3;face_1;face_2;choice;Split;subject_1;subject_2;subject_3;note",
        "7;one;c.jpg;a.jpg;b.jpg;face_3;training;ann;bob;;first",
        "8;THREE_CLASS_TRIPLET;c.jpg;a.jpg;d.jpg;d.jpg;test;ann;dan;;",
        "7;Three-Class;d.jpg;a.jpg;c.jpg;2;Test;ann;;dan;",
        "9;three_class;d.jpg;a.jpg;c.jpg;3;Test;ann;;dan;",
    )
    train, test = found["train"], found["test"]
    assert list(found) == ["train", "test"]
    assert (train.type_T.tolist(), train.odd_T.tolist()) == ([0], [2])
    assert (test.type_T.tolist(), test.votes_T3.tolist()) == ([2], [[0, 2, 1]])
    assert train.annotator.tolist() == [0] and test.annotator.tolist() == [1, 0, 2]  # one numbering
    assert train.subjects == test.subjects == {"a.jpg": "ann", "b.jpg": "bob", "d.jpg": "dan"}


def test_numbers_from_0(tmp_path, caplog):
    with caplog.at_level("INFO"):
        found = read(tmp_path, HEADER, "a.jpg,b.jpg,c.jpg,0,x", "a.jpg,b.jpg,d.jpg,2,x", "a.jpg,b.jpg,d.jpg,d.jpg,y")
    assert found["train"].odd_T.tolist() == [0, 2]
    assert "labels count from 0, since there is a 0 and no 3" in caplog.text
    with pytest.raises(DataError, match=r"answers\.csv: line 2 and line 3: labels 0 and 3; allowed: 1 to 3, or 0 to 2"):
        read(tmp_path, HEADER, "a.jpg,b.jpg,c.jpg,0,x", "a.jpg,b.jpg,d.jpg,3,x")


def test_faces_called_by_numbers_are_names(tmp_path):
    assert read(tmp_path, HEADER, "7,8,9,9,x", "4,5,6,4,x")["train"].odd_T.tolist() == [2, 0]
    with pytest.raises(DataError, match=r"line 2: odd '2' may be 2 or 3; allowed: one"):
        read(tmp_path, HEADER, "2,3,4,2,x")


def test_a_row_a_triplet_with_its_votes(tmp_path):
    table = read(
        tmp_path,
        "a,b,c,votes_a,votes_b,votes_c,odd",
        "a.jpg,b.jpg,c.jpg,5,1,,a.jpg",
        "a.jpg,b.jpg,d.jpg,2,2,0,2",
        "a.jpg,c.jpg,d.jpg,2,2,0,",
        "b.jpg,c.jpg,d.jpg,0,0,0,",
    )["train"]
    assert table.votes_T3.tolist() == [[5, 1, 0], [2, 2, 0]] and table.odd_T.tolist() == [0, 1]
    assert table.answer.size == 0 and table.answer_offset.tolist() == [0, 0, 0]
    assert table.coverage["dropped"] == {"tie": 1, "no_answer": 1}


def test_ties_and_rows_without_an_answer_are_counted_with_the_first_of_each(tmp_path):
    rows = ["a.jpg,b.jpg,c.jpg,a,x", "c.jpg,a.jpg,b.jpg,c.jpg,y", "a.jpg,b.jpg,d.jpg,,y", "a.jpg,b.jpg,d.jpg,d.jpg,x"]
    coverage = read(tmp_path, HEADER, *rows)["train"].coverage
    assert (coverage["read"], coverage["kept"], coverage["dropped"]) == (4, 1, {"no_answer": 1, "tie": 2})
    assert coverage["first"]["tie"] == {"line": 2, "text": "a.jpg, b.jpg, c.jpg: votes 1, 0, 1"}
    assert coverage["first"]["no_answer"] == {"line": 4, "text": rows[2]}
    with pytest.raises(
        DataError, match=r"none of 2 rows is usable: {'tie': 2}; first bad row: line 2: 'a\.jpg, b\.jpg"
    ):
        read(tmp_path, HEADER, *rows[:2])


GOOD = "a.jpg,b.jpg,c.jpg,a.jpg,x"
VOTES = "a,b,c,votes_a,votes_b,votes_c"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a,b,c,rater", "a.jpg,b.jpg,c.jpg,x"], "no column odd; seen: a, b, c, rater; allowed: a,b,c,odd,rater, or a"),
        (["a,b,c,odd", "a.jpg,b.jpg,c.jpg,1"], "no column rater; seen: a, b, c, odd; allowed"),
        (["a,b,odd,rater", "a.jpg,b.jpg,1,x"], "no column a, b, c; seen: a, b, odd, rater"),
        ([GOOD, GOOD], "no column a, b, c, odd, rater; seen: a.jpg, b.jpg, c.jpg"),
        ([HEADER + ",a", GOOD + ",a.jpg"], "column a occurs twice; seen: a, b, c, odd, rater, a; allowed: once"),
        ([HEADER + ",img1,img2,img3", GOOD], "columns a, b, c or img1, img2, img3 may be the pictures"),
        ([HEADER + ",votes_a,votes_b,votes_c", GOOD], "columns of a rater and of votes; allowed"),
        ([HEADER, GOOD, "c.jpg,b.jpg,a.jpg,1,x"], "line 3: rater 'x' answers the triplet of line 2 again"),
        ([HEADER, GOOD, "a.jpg,b.jpg,c.jpg,e.jpg,y"],
         "line 3: odd 'e.jpg' is none of a.jpg, b.jpg, c.jpg; allowed: one of them, a, b, c or 1..3"),
        ([HEADER, GOOD, "a.jpg,b.jpg,c.jpg,4,y"], "line 3: odd '4' is none of a.jpg, b.jpg, c.jpg"),
        ([HEADER, "a.jpg,b.jpg,./a.jpg,1,x"], "line 2: faces a.jpg, b.jpg, a.jpg; allowed: three different ones"),
        ([HEADER, "a.jpg,,c.jpg,1,x"], "line 2: face ''; allowed: the path of a photo below PICTURES"),
        ([HEADER, "../a.jpg,b.jpg,c.jpg,1,x"], "line 2: face '../a.jpg'; allowed"),
        ([HEADER, "/a.jpg,b.jpg,c.jpg,1,x"],
         "line 2: face '/a.jpg' is an absolute path; allowed: .* or --allow-absolute"),
        ([HEADER, "a.jpg,b.jpg,c.jpg,1,"], "line 2: no rater; allowed"),
        ([HEADER + ",type", GOOD + ",FOUR"],
         "line 2: type 'FOUR'; allowed: ONE_CLASS_TRIPLET, TWO_CLASS_TRIPLET, THREE_CLASS_TRIPLET, or one, two, three"),
        ([HEADER + ",type", GOOD + ",ONE", "a.jpg,b.jpg,c.jpg,1,y,TWO"],
         "line 3: another type or split than in line 2"),
        ([HEADER + ",split", GOOD + ",train", "a.jpg,b.jpg,c.jpg,1,y,val"],
         "line 3: another type or split than in line 2"),
        ([HEADER + ",split", GOOD + ",../x"], "line 2: split '../x'; allowed: a word such as train, val, test"),
        ([HEADER + ",subject_a,subject_b,subject_c", GOOD + ",ann,bob,", "a.jpg,b.jpg,d.jpg,1,x,eve,bob,"],
         "line 3: a.jpg shows 'eve', before 'ann'; allowed: one person a face"),
        ([VOTES, "a.jpg,b.jpg,c.jpg,1,2.5,1"], "line 2: votes 1, 2.5, 1; allowed: whole numbers of 0..255"),
        ([VOTES, "a.jpg,b.jpg,c.jpg,1,2,300"], "line 2: votes 1, 2, 300; allowed"),
        ([VOTES, "a.jpg,b.jpg,c.jpg,1,2,1", "b.jpg,a.jpg,c.jpg,3,0,0"], "line 3: the triplet of line 2 again"),
        ([VOTES + ",odd", "a.jpg,b.jpg,c.jpg,1,2,1,a.jpg"], "line 2: odd is a.jpg, but the votes are 1, 2, 1"),
        ([""], "contains|is empty|no column"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(tmp_path, lines, said):
    with pytest.raises(DataError, match=rf"^[^\n]*answers\.csv: ({said})[^\n]*$"):
        read(tmp_path, *lines)


def test_more_raters_than_votes_can_hold(tmp_path):
    with pytest.raises(DataError, match=r"line 257: more than 255 raters chose a\.jpg"):
        read(tmp_path, HEADER, *(f"a.jpg,b.jpg,c.jpg,a,{rater}" for rater in range(256)))


def test_rows_say_the_same_whether_what_was_shown_is_still_held_or_not(tmp_path, monkeypatch):
    """Rows of one triplet share what is read of their faces; only so many are held."""
    lines = [HEADER + ",type,subject_a,subject_b,subject_c"]
    lines += [
        f"{k}/a.jpg,{k}/b.jpg,{k}/c.jpg,{'abc'[(k + r // 2) % 3]},r{r},one,p{k},nan,p{k}"
        for r in range(3)
        for k in range(7)
    ]
    reads = []
    found = AnswerTable._show
    monkeypatch.setattr(AnswerTable, "_show", lambda self, *how: reads.append(1) or found(self, *how))
    held = read(tmp_path, *lines)["train"]
    assert len(reads) == 7 and held.subjects["0/a.jpg"] == "p0" and "0/b.jpg" not in held.subjects
    monkeypatch.setattr(answer_rows, "_MOST_KNOWN", 2)
    again = read(tmp_path, *lines)["train"]
    assert len(reads) == 7 + 21
    for name in ("faces_T3", "odd_T", "votes_T3", "annotator", "answer", "answer_offset"):
        assert np.array_equal(getattr(held, name), getattr(again, name))
    with pytest.raises(DataError, match="line 23: rater 'r0' answers the triplet of line 2 again"):
        read(tmp_path, *lines, lines[1])


def test_a_table_that_names_its_faces_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(AnswerTable, "base", property(lambda _: pytest.fail("the numbers are not looked for")))
    assert read(tmp_path, HEADER, "a.jpg,b.jpg,c.jpg,c.jpg,x", "a.jpg,b.jpg,d.jpg,B,x")["train"].odd_T.tolist() == [
        2,
        1,
    ]
