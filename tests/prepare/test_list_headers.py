"""What a list says twice is refused; so is what is no list, in one line."""

import os

import pytest

from fecnet.data.face_rows import face_rows
from fecnet.faces.picture_lists import read_paths
from fecnet.prepare.annotations import read_crops
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.prepare.text_rows import Tally, text_rows


@pytest.mark.parametrize(
    "header", ["path,label,age,age", "path,label,split,Split", "path,Path,label", "path,label,label"]
)
def test_a_column_twice_in_a_list_is_refused(tmp_path, header):
    file = tmp_path / "list.csv"
    file.write_text(f"{header}\na.png,1,2,3\n")
    with pytest.raises(ValueError, match=r"list\.csv: column \w+ 2 times; allowed: once"):
        read_csv_list(file)


def test_unnamed_columns_are_no_column_twice(tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("path,label,,\na.png,1,,\nb.png,2,,\n")
    assert read_csv_list(file).classes == ("1", "2")


def test_a_column_twice_in_a_packed_set_is_refused(tiny):
    file = tiny / "faces.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(f"{line},{line.split(',')[0]}" for line in lines))
    with pytest.raises(ValueError, match=r"faces\.csv: column key 2 times; allowed: once"):
        list(face_rows(tiny))


def read_rows(path):
    return list(text_rows(path, Tally(()), progress=False))


READERS = {"crops": read_crops, "list": read_csv_list, "paths": lambda path: list(read_paths(path)), "rows": read_rows}
NOTHING = {
    b"": "rows",
    b"\xef\xbb": "bom",
    b"\xff\xfe": "two bytes",
    b"\n": "line",
    b"\xef\xbb\xbf": "mark",
    b'"': "quote",
}


@pytest.mark.parametrize("content", NOTHING, ids=NOTHING.values())
@pytest.mark.parametrize("reader", READERS)
def test_a_list_of_nothing_is_no_fault(tmp_path, reader, content):
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    try:
        found = READERS[reader](file)
    except ValueError as error:
        assert type(error).__name__ == "DataError"
        assert str(error).startswith(str(file)) and "\n" not in str(error)
    else:
        assert len(found) <= 1


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_no_list(tmp_path, reader):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(ValueError, match=r"list\.csv: a pipe, a device or a socket; allowed: a file"):
        READERS[reader](tmp_path / "list.csv")


def test_labels_and_splits_of_thousands_of_digits_are_words(tmp_path):
    file, digits = tmp_path / "list.csv", "9" * 5000
    file.write_text(f"path,label,split\na.png,{digits}_a,train\nb.png,1_b,val {digits}\n")
    assert read_csv_list(file).classes == ("1_b", f"{digits}_a")


def test_a_message_shows_the_beginning_of_a_long_value(tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("path,label\n" + "".join(f"{number}.png,{number}.5{'0' * 9000}\n" for number in range(12)))
    with pytest.raises(ValueError, match=r"labels '0\.5000") as error:
        read_csv_list(file)
    assert len(str(error.value)) < 1200
    file.write_text("x" * 10_000 + ",y")
    with pytest.raises(ValueError, match="the first line is 'xxx") as error:
        read_crops(file)
    assert len(str(error.value)) < 500
