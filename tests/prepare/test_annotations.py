import csv
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.annotations import write_annotations
from fecnet.prepare.annotations import ANNOTATION_REASONS, read_annotations, read_crops
from fecnet.prepare.triplet_lists import read_lists
from fecnet.prepare.writer import face_key
from fecnet.utils.errors import DataError

A = "http://a.example/1.jpg,0.1,0.4,0.2,0.6"
B = "http://a.example/1.jpg,0.5,0.9,0.2,0.6"  # another face of the same photo
C = "http://c.example/2.jpg,0.1,0.4,0.2,0.6"
D = "http://d.example/3.jpg,0.0,1.0,0.0,1.0"
TYPES = ["ONE_CLASS_TRIPLET", "TWO_CLASS_TRIPLET", "THREE_CLASS_TRIPLET"]


def row(faces=(A, B, C), kind=TYPES[0], answers=(3, 3, 3, 3, 1, 2)):
    return ",".join([*faces, kind, *(f"rater{k},{answer}" for k, answer in enumerate(answers))])


def read(tmp_path, *lines, end="\n", reader=read_annotations, **options):
    data = end.join(lines)
    path = tmp_path / "file.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return reader({"train": path}, progress=False, **options)["train"]


def dropped(annotations):
    return {reason: count for reason, count in annotations.coverage["dropped"].items() if count}


def assert_accounted(annotations, num_lines):
    coverage = annotations.coverage
    assert coverage["read"] == num_lines
    assert coverage["kept"] == len(annotations.line_T) == len(annotations.faces_T3)
    assert coverage["kept"] + sum(coverage["dropped"].values()) == num_lines


def test_a_row_becomes_a_triplet(tmp_path):
    found = read(tmp_path, row(kind=TYPES[1]), row((C, D, A), TYPES[2], (1, 1, 1, 1, 1, 1, 2)))
    assert found.urls == [f"http://{name}.jpg" for name in ("a.example/1", "c.example/2", "d.example/3")]
    assert found.face_photo_F.tolist() == [0, 0, 1, 2]
    assert found.face_box_F4.tolist()[1] == [0.5, 0.9, 0.2, 0.6]
    assert found.faces_T3.tolist() == [[0, 1, 2], [2, 3, 0]]
    assert found.odd_T.tolist() == [2, 0]
    assert found.type_T.tolist() == [1, 2]
    assert found.votes_T3.tolist() == [[1, 1, 4], [6, 1, 0]]
    assert found.answer_offset.tolist() == [0, 6, 13]
    assert found.answer.tolist() == [2, 2, 2, 2, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert found.annotator.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6]
    assert found.line_T.tolist() == [1, 2]
    types = {"face_photo_F": "i4", "face_box_F4": "f8", "faces_T3": "i4", "odd_T": "i1", "type_T": "i1"}
    types |= {"votes_T3": "u1", "answer_offset": "i8", "annotator": "i4", "answer": "i1", "line_T": "i4"}
    assert {name: getattr(found, name).dtype.str[1:] for name in types} == types


def without(part, text=None):
    return (text or row()).replace(part, "")


BAD_ROWS = [
    ("empty_line", ""),
    ("empty_line", " , ,,"),
    ("short_row", A),
    ("short_row", ",".join((A, B, C))),
    ("short_row", "<html>404 not found</html>"),
    ("short_row", '"' + row()),  # a quote that is never closed
    ("no_url", without("http://c.example/2.jpg")),
    ("bad_box", row((A, B, C.replace("0.4", "")))),
    ("bad_box", row((A, B, C.replace("0.4", "x")))),
    ("bad_box", row((A, B, C.replace("0.4", "nan")))),
    ("bad_box", row((A, B, C.replace("0.4", "0_4.0")))),
    ("bad_box", row((A, B, C.replace("0.4", "1.1")))),
    ("bad_box", row((A, B, C.replace("0.1", "-0.1")))),
    ("bad_box", row((A, B, C.replace("0.4", "0.05")))),
    ("bad_box", row((A, B, C.replace("0.6", "0.2")))),
    ("same_face_twice", row((A, B, A))),
    ("same_face_twice", row((A, B, A.replace("0.4", "0.40000004")))),
    ("unknown_type", row(kind="FOUR_CLASS_TRIPLET")),
    ("unknown_type", row(kind="")),
    ("incomplete_answers", row(answers=())),
    ("incomplete_answers", row() + ",rater9"),
    ("incomplete_answers", row() + ",rater9,,rater10,3"),
    ("incomplete_answers", row() + ",,3"),
    ("bad_answer", row(answers=(3, 3, 3, 3, -1))),
    ("bad_answer", row(answers=(3, 3, 3, 3, 4))),
    ("bad_answer", row(answers=(3, 3, 3, 3, "x"))),
    ("bad_answer", row(answers=(3, 3, 3, 3, 1.5))),
    ("too_many_answers", row(answers=[2] * 256)),
    ("tie", row(answers=(1, 1, 1, 2, 2, 2))),
    ("tie", row(answers=(1, 2, 3))),
    ("no_agreement", row(answers=(1, 1, 1, 2, 2, 3))),
    ("no_agreement", row(answers=(1, 1, 1, 1, 1, 2, 2, 3))),  # 5 of 8 raters
]


@pytest.mark.parametrize(("reason", "line"), BAD_ROWS)
def test_a_bad_row_is_counted_by_reason_and_spoils_no_other(tmp_path, reason, line):
    found = read(tmp_path, row(), line, row((C, D, A)), line, row())
    assert dropped(found) == {reason: 2}
    assert found.coverage["first"] == {reason: {"line": 2, "text": line[:160]}}
    assert found.line_T.tolist() == [1, 3, 5]
    assert_accounted(found, 5)


def test_every_reason_has_a_row():
    assert {reason for reason, _ in BAD_ROWS} == set(ANNOTATION_REASONS)


@pytest.mark.parametrize(
    ("answers", "share", "kept"),
    [
        ((1, 1, 2), 2 / 3, True),
        ((1, 1, 1, 1, 2, 2), 0.6666666, True),  # a share typed by hand means the fraction
        ((1,) * 200 + (2,) * 100, 2 / 3, True),
        ((1,) * 199 + (2,) * 101, 2 / 3, False),
        ((1, 1, 1, 2, 2, 3), 0.5, True),
        ((1, 1, 2), 1, False),
        ((1, 1, 1), 1, True),
        ((1, 1, 2, 3), 0.1, True),
        ((1, 1, 2, 2), 0.1, False),
    ],
)
def test_agreement_is_inclusive_and_exact(tmp_path, answers, share, kept):
    assert len(read(tmp_path, row(answers=answers), min_agreement=share).odd_T) == kept


@pytest.mark.parametrize("share", [0, -1, 1.01, float("nan")])
def test_agreement_out_of_range(tmp_path, share):
    with pytest.raises(ValueError, match=r"min_agreement: .*allowed"):
        read(tmp_path, row(), min_agreement=share)


def test_as_many_raters_as_a_byte_counts(tmp_path):
    assert read(tmp_path, row(answers=[2] * 255)).votes_T3.tolist() == [[0, 255, 0]]


QUOTED = ",".join(f'"{field}"' for field in row().split(","))


@pytest.mark.parametrize(
    "text",
    [
        row(),
        "\ufeff" + row() + "\n",
        row() + "\r\n",
        row() + ",,,\n",
        row().replace(",", " , "),
        row().replace(",", ",\t"),
        QUOTED,
        QUOTED.replace(",", ", ") + "  \n",
        "\ufeff" + QUOTED + ",,\r\n",
        row(answers=("3.0", "3.0", "3.0", 3, "1.0", 2)),
    ],
)
def test_ways_to_write_the_same_row(tmp_path, text):
    wanted = read(tmp_path, row())
    found = read(tmp_path, text)
    assert found.coverage == wanted.coverage
    assert found.urls == wanted.urls
    for name, value in vars(wanted).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(found, name)), name


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, end):
    found = read(tmp_path, row(), "", row((C, D, A)), end=end)
    assert found.line_T.tolist() == [1, 3]
    assert dropped(found) == {"empty_line": 1}


def test_answers_counted_from_0_are_read_as_such_in_all_files(tmp_path, capsys):
    rows = [((A, B, C), (2, 2, 2, 0, "1.0", 2)), ((C, D, A), (0, 0, 0)), ((D, A, B), (1, 1, 2))]
    for split, some in (("train", rows[:2]), ("test", rows[2:])):  # the second file alone could be of either kind
        (tmp_path / split).write_text("\n".join(row(faces, answers=answers) for faces, answers in some))
    files = {split: tmp_path / split for split in ("train", "test")}
    found = read_annotations(files, progress=False)
    told = f"{tmp_path / 'train'}, {tmp_path / 'test'}: labels count from 0, since there is a 0 and no 3"
    assert told in capsys.readouterr().out
    assert [found[split].odd_T.tolist() for split in found] == [[2, 0], [1]]
    assert [found[split].votes_T3.tolist() for split in found] == [[[1, 1, 4], [3, 0, 0]], [[0, 2, 1]]]
    assert found["train"].answer.tolist() == [2, 2, 2, 0, 1, 2, 0, 0, 0]
    (tmp_path / "test").write_text(row(answers=(1, 1, 3)))
    said = r"train: line 1 and .*test: line 1: labels 0 and 3; allowed: 1 to 3, or 0 to 2, not both"
    with pytest.raises(DataError, match=said):
        read_annotations(files, progress=False)


def test_boxes_are_equal_to_six_decimals(tmp_path):
    again = A.replace("0.4", "0.40000004").replace("0.1", "1.0e-1")
    found = read(tmp_path, row(), row((C, D, again)), row((D, A.replace("0.1", "-0.0000001"), C)))
    assert found.faces_T3.tolist() == [[0, 1, 2], [2, 3, 0], [3, 4, 2]]
    # no negative zero: it would be written with its sign and change the key
    assert face_key("x", found.face_box_F4[4]) == face_key("x", (0, 0.4, 0.2, 0.6))


def test_dropped_rows_leave_no_face_photo_or_rater(tmp_path):
    found = read(tmp_path, row((D, C, B), answers=(1, 2, 3)), row((A, B, C)).replace("rater", "other"))
    assert found.urls == ["http://a.example/1.jpg", "http://c.example/2.jpg"]
    assert found.faces_T3.tolist() == [[0, 1, 2]]
    assert found.annotator.tolist() == [0, 1, 2, 3, 4, 5]


def test_bytes_that_are_no_utf8_are_counted_and_stay_apart(tmp_path):
    lines = [row(), row().replace("2.jpg", "\xe9.jpg"), row().replace("2.jpg", "é.jpg")]
    data = [lines[0].encode(), lines[1].encode("latin-1"), lines[2].encode(), b"\xff\xfe,garbage"]
    found = read(tmp_path, b"\n".join(data), end=b"")
    assert found.urls[1:] == ["http://c.example/2.jpg", "http://c.example/\\xe9.jpg", "http://c.example/é.jpg"]
    assert found.coverage["flagged"] == {"invalid_utf8": 2}
    assert found.coverage["first"] == {"short_row": {"line": 4, "text": "\\xff\\xfe,garbage"}}
    "".join(found.urls).encode()  # can be written again
    assert_accounted(found, 4)


def test_a_field_longer_than_the_csv_module_takes(tmp_path):
    long = QUOTED.replace("rater0", "r" * (csv.field_size_limit() + 1))
    found = read(tmp_path, row(), long, row())
    assert_accounted(found, 3)
    assert found.line_T[[0, -1]].tolist() == [1, 3]


@pytest.mark.parametrize("reader", [read_annotations, read_lists, read_crops])
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"\xef\xbb\xbf", "is empty"), (b"\x89PNG\0\0\0", "zero bytes"), (None, "is a folder")],
)
def test_what_is_no_table(tmp_path, reader, content, words):
    path = tmp_path / "file"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as info:
        reader(path if reader is read_crops else {"train": path})
    assert str(info.value).startswith(f"{path}: ") and "\n" not in str(info.value)
    with pytest.raises(ValueError, match="no such file"):
        reader(tmp_path / "absent" if reader is read_crops else {"train": tmp_path / "absent"})


def naive(lines):
    """The same triplets in the plainest way, without sharing anything between rows."""
    photos, faces, raters, rows = [], [], [], []
    for number, line in enumerate(lines, 1):
        fields = line.split(",")
        answers = [int(value) for value in fields[17::2]]
        most, count = Counter(answers).most_common(1)[0]
        if 3 * count < 2 * len(answers):
            continue
        place = []
        for k in (0, 5, 10):
            if fields[k] not in photos:
                photos.append(fields[k])
            face = (photos.index(fields[k]), *(round(float(value), 6) for value in fields[k + 1 : k + 5]))
            if face not in faces:
                faces.append(face)
            place.append(faces.index(face))
        for rater in fields[16::2]:
            if rater not in raters:
                raters.append(rater)
        votes = [answers.count(k) for k in (1, 2, 3)]
        names = [raters.index(rater) for rater in fields[16::2]]
        rows.append((number, place, most - 1, TYPES.index(fields[15]), votes, names, [a - 1 for a in answers]))
    return photos, faces, rows


def test_equals_a_naive_reader(tmp_path):
    path = tmp_path / "file.csv"
    write_annotations(path, rows=400, photos=60, seed=3)
    found = read_annotations({"train": path}, progress=False)["train"]
    lines = path.read_text().splitlines()
    photos, faces, rows = naive(lines)
    assert 300 < len(rows) < 400
    assert_accounted(found, 400)
    assert found.urls == photos
    assert found.face_photo_F.tolist() == [face[0] for face in faces]
    assert found.face_box_F4.tolist() == [list(face[1:]) for face in faces]
    columns = (found.line_T, found.faces_T3, found.odd_T, found.type_T, found.votes_T3)
    parts = [np.split(value, found.answer_offset[1:-1]) for value in (found.annotator, found.answer)]
    read_rows = zip(
        *(value.tolist() for value in columns), *([part.tolist() for part in p] for p in parts), strict=True
    )
    assert [list(values) for values in read_rows] == [list(values) for values in rows]


FIELDS = st.one_of(
    st.sampled_from(["", " ", "0.1", "0.5", "1", "2", "3", '"', '"x"', '""', "nan", "ONE_CLASS_TRIPLET", "\0", "é"]),
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=6),
)
ROWS = st.one_of(
    st.lists(FIELDS, max_size=24).map(",".join),
    st.builds(
        row,
        st.lists(st.sampled_from([A, B, C, D, C.replace("0.1", "x")]), min_size=3, max_size=3),
        st.sampled_from(TYPES),
        st.lists(st.integers(1, 4), max_size=8),
    ),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(ROWS, max_size=8), reader=st.sampled_from([read_annotations, read_lists]))
def test_no_row_is_lost_whatever_it_holds(tmp_path, lines, reader):
    # the first line is long and whole, so that a zero byte after it is garbage in a row and no sign of a binary file
    first = row() + "," * (1 << 16)
    try:
        found = read(tmp_path, first, *lines, "", reader=reader)
    except DataError as error:
        assert "labels 0 and 3; allowed: 1 to 3, or 0 to 2, not both" in str(error)
        return
    assert_accounted(found, len(lines) + 1)
    good = [number for number, line in enumerate(lines, 2) if line == row()]
    if reader is read_annotations:
        assert set(good) | {1} <= set(found.line_T.tolist())
    assert (np.diff(found.line_T) > 0).all()
    assert found.faces_T3.size == 0 or found.faces_T3.max() == len(found.face_photo_F) - 1


def test_unreadable_file(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text(row())
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root reads everything
    try:
        with pytest.raises(OSError, match="denied"):
            read_annotations({"train": path}, progress=False)
    finally:
        os.seteuid(user)


def test_progress_reaches_the_end(tmp_path, capsys):
    path = tmp_path / "file.csv"
    write_annotations(path, rows=5000, photos=60, seed=1)
    assert_accounted(read_annotations({"train": path})["train"], 5000)
    assert "100%" in capsys.readouterr().err
