"""Lists of triplets, as the original code wrote them and as data-frame libraries write them again."""

import numpy as np
import pytest

from fecnet.prepare.triplet_lists import LIST_REASONS, read_lists
from fecnet.utils.errors import DataError

NAMES = "img1,img2,img3,label,type"
ROWS = ["a.jpg,b/c d.jpg,d.jpg,3,THREE_CLASS_TRIPLET", "d.jpg,a.jpg,b/c d.jpg,1,ONE_CLASS_TRIPLET"]


def read(tmp_path, *lines, **options):
    path = tmp_path / "file.csv"
    path.write_text("\n".join(lines))
    return read_lists({"train": path}, progress=False, **options)["train"]


def dropped(annotations):
    return {reason: count for reason, count in annotations.coverage["dropped"].items() if count}


def assert_accounted(annotations, num_lines):
    coverage = annotations.coverage
    assert coverage["read"] == num_lines
    assert coverage["kept"] == len(annotations.line_T) == len(annotations.faces_T3)
    assert coverage["kept"] + sum(coverage["dropped"].values()) == num_lines


def test_a_list_of_local_pictures(tmp_path):
    found = read(
        tmp_path,
        "a.jpg,b/c.jpg,d.jpg,3,THREE_CLASS_TRIPLET",
        "d.jpg, ./a.jpg, b//c.jpg, 1, ONE_CLASS_TRIPLET",
    )
    assert found.urls == ["a.jpg", "b/c.jpg", "d.jpg"]
    assert found.face_photo_F.tolist() == [0, 1, 2]
    assert found.face_box_F4.shape == (3, 4) and np.isnan(found.face_box_F4).all()
    assert found.faces_T3.tolist() == [[0, 1, 2], [2, 0, 1]]
    assert found.odd_T.tolist() == [2, 0]
    assert found.type_T.tolist() == [2, 0]
    assert found.votes_T3.tolist() == [[0, 0, 0]] * 2
    assert found.answer_offset.tolist() == [0, 0, 0]
    assert found.answer.size == found.annotator.size == 0
    assert_accounted(found, 2)


BAD_LISTED = [
    ("empty_line", ",,"),
    ("short_row", "a.jpg,b.jpg,c.jpg,1"),
    ("absolute_path", "/a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("bad_path", "a.jpg,,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("bad_path", "a.jpg,.,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("bad_path", "a.jpg,../b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("bad_path", "a.jpg,b.jpg,x/../../c.jpg,1,ONE_CLASS_TRIPLET"),
    ("bad_path", "a.jpg,x\\..\\..\\b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("absolute_path", "C:\\a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("absolute_path", "\\a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("bad_path", "http://h.example/a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"),
    ("same_face_twice", "a.jpg,b.jpg,./a.jpg,1,ONE_CLASS_TRIPLET"),
    ("unknown_type", "a.jpg,b.jpg,c.jpg,1,FOUR_CLASS"),
    ("bad_answer", "a.jpg,b.jpg,c.jpg,4,ONE_CLASS_TRIPLET"),
    ("bad_answer", "a.jpg,b.jpg,c.jpg,1.5,ONE_CLASS_TRIPLET"),
    ("bad_answer", "a.jpg,b.jpg,c.jpg,,ONE_CLASS_TRIPLET"),
]


@pytest.mark.parametrize(("reason", "line"), BAD_LISTED)
def test_a_bad_listed_row_is_counted_by_reason(tmp_path, reason, line):
    good = "a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET"
    found = read(tmp_path, good, line, good)
    assert dropped(found) == {reason: 1}
    assert found.coverage["first"] == {reason: {"line": 2, "text": line}}
    assert found.line_T.tolist() == [1, 3]
    assert_accounted(found, 3)


def test_every_reason_of_lists_has_a_row():
    assert {reason for reason, _ in BAD_LISTED} | {"header", "bad_votes"} == set(LIST_REASONS)


def mixed(order, rows, separator=","):
    """The columns in another order."""
    return [separator.join(f'"{row.split(",")[place]}"' for place in order) for row in rows]


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        ([NAMES, *ROWS], 1),
        (["," + NAMES, *(f"{k},{row}" for k, row in enumerate(ROWS))], 1),  # pandas: to_csv()
        ([",0,1,2,3,4", *(f"{k},{row}" for k, row in enumerate(ROWS))], 1),  # read without a header before
        (["column_1,column_2,column_3,column_4,column_5", *ROWS], 1),  # polars
        (['"","V1","V2","V3","V4","V5"', *(f'"{k}",{row}' for k, row in enumerate(ROWS, 1))], 1),  # R
        ([f"{k},{row}" for k, row in enumerate(ROWS)], 0),  # an index without a header
        ([row.replace(",3,", ",3.0,").replace(",1,", ",1.0,") for row in ROWS], 0),  # a column with a gap
        (["", "", NAMES, *ROWS], 3),
        (mixed((4, 2, 3, 0, 1), [NAMES, *ROWS]), 1),
        (mixed((3, 0, 1, 2, 4), ["image_a,image_b,image_c,Odd One Out,Triplet Type", *ROWS], ";"), 1),
        (mixed((0, 1, 2, 3, 4), ["path0,path1,path2,label,type", *ROWS], "\t"), 1),
        (
            [
                "id,img1_path,img2_path,img3_path,score,label,type",
                *("x,{},{},{},0.5,{},{}".format(*r.split(",")) for r in ROWS),
            ],
            1,
        ),
        (mixed((0, 1, 2, 3, 4), ROWS, "  "), 0),
        ([row.replace("b/c d", "b\\\\c d".replace("\\\\", "\\")) for row in ROWS], 0),
    ],
)
def test_other_ways_to_write_the_same_list(tmp_path, lines, headers):
    found, expected = read(tmp_path, *lines), read_rows(tmp_path)
    assert found.urls == expected.urls == ["a.jpg", "b/c d.jpg", "d.jpg"]
    for name in ("faces_T3", "odd_T", "type_T", "votes_T3"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert (found.line_T - expected.line_T == headers).all()
    assert_accounted(found, len(lines))


def read_rows(tmp_path):
    (tmp_path / "plain").mkdir()
    return read(tmp_path / "plain", *ROWS)


@pytest.mark.parametrize("header", ["img1,img2,label,type", "a,b,c,label,kind_of"])
def test_a_header_without_its_columns_is_refused(tmp_path, header):
    with pytest.raises(
        DataError, match=rf"file.csv: columns {header.replace(',', ', ')}; expected {NAMES} in any order"
    ):
        read(tmp_path, header, *ROWS)


def test_labels_counted_from_0_are_read_as_such_in_all_files(tmp_path, capsys):
    rows = "a,b,c,{},ONE_CLASS_TRIPLET\n"
    files = {split: tmp_path / f"{split}.csv" for split in ("train", "test")}
    files["train"].write_text("".join(map(rows.format, (0, 2, "1.0"))))
    files["test"].write_text("".join(map(rows.format, (1, 2, "x"))))  # alone, this could be of either kind
    found = read_lists(files, progress=False)
    assert [table.odd_T.tolist() for table in found.values()] == [[0, 2, 1], [1, 2]]
    assert "train.csv, " in (told := capsys.readouterr().out)
    assert told.endswith("test.csv: labels count from 0, since there is a 0 and no 3\n")
    assert read_lists({"test": files["test"]}, progress=False)["test"].odd_T.tolist() == [0, 1]
    files["test"].write_text("".join(map(rows.format, (1, 3))))
    said = r"train.csv: line 1 and .*test.csv: line 2: labels 0 and 3; allowed: 1 to 3, or 0 to 2, not both"
    with pytest.raises(DataError, match=said):
        read_lists(files, progress=False)


def test_absolute_paths_where_they_are_allowed(tmp_path):
    rows = ["/x/../a.jpg,b.jpg,C:\\d\\c.jpg,2,ONE_CLASS_TRIPLET"]
    assert dropped(read(tmp_path, *rows)) == {"absolute_path": 1}
    assert read(tmp_path, *rows, allow_absolute=True).urls == ["/x/../a.jpg", "b.jpg", "C:/d/c.jpg"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("img1,img2,img3,path1,path2,path3,label,type", "columns img1, img2, img3 or path1, path2, path3 may be the"),
        ("img1,img2,img3,label,type,label", "column label occurs twice"),
    ],
)
def test_a_header_of_two_meanings_is_refused(tmp_path, header, said):
    with pytest.raises(DataError, match=f"file.csv: {said}"):
        read(tmp_path, header, *ROWS)


def test_votes_beside_the_label_are_kept(tmp_path):
    header = f"{NAMES},votes_1,votes_2,votes_3"
    found = read(tmp_path, header, f"{ROWS[0]},1,0,4", f"{ROWS[1]},,,", f"{ROWS[1]},1,-1,0", f"{ROWS[1]},2,2.0,0")
    assert found.votes_T3.tolist() == [[1, 0, 4], [0, 0, 0], [2, 2, 0]] and found.answer.size == 0
    assert dropped(found) == {"header": 1, "bad_votes": 1}
    first = ROWS[1].replace(",1,", ",0,")
    counted_from_0 = read(tmp_path, header, f"{first},9,0,2")
    assert (counted_from_0.odd_T.tolist(), counted_from_0.votes_T3.tolist()) == ([0], [[9, 0, 2]])
    with pytest.raises(
        DataError, match=r"line 2: face 3 is the odd one, but the votes are 3, 0, 1; allowed: a face with"
    ):
        read(tmp_path, header, f"{ROWS[0]},3,0,1")


@pytest.mark.parametrize("word", ["one", "One Class", "one-class", "ONE_CLASS", "one_class_triplet"])
def test_other_forms_of_the_words_of_types(tmp_path, word):
    assert read(tmp_path, NAMES, f"a.jpg,b.jpg,c.jpg,1,{word}").type_T.tolist() == [0]


def test_types_in_any_case(tmp_path):
    rows = ["0,a.jpg,b.jpg,c.jpg,1,one_class_triplet", "1,a.jpg,b.jpg,c.jpg,2,Two_Class_Triplet"]
    assert read(tmp_path, *rows).odd_T.tolist() == [0, 1]
