"""Tables that say where the aligned pictures of annotated faces lie."""

import pytest

from fecnet.prepare.annotations import read_crops
from fecnet.prepare.writer import face_key

A = "http://a.example/1.jpg,0.1,0.4,0.2,0.6"
C = "http://c.example/2.jpg,0.1,0.4,0.2,0.6"
HEADER = "url,left,right,top,bottom,path"


def crops(tmp_path, *lines):
    path = tmp_path / "crops.csv"
    path.write_bytes("\n".join(lines).encode())
    return read_crops(path)


def test_crops_by_face_key(tmp_path):
    found = crops(tmp_path, HEADER, f"{A},one.jpg", "", '"http://c.example/2.jpg", 0.1,0.4,0.2,0.6,"x,y.jpg"')
    assert found == {
        face_key("http://a.example/1.jpg", (0.1, 0.4, 0.2, 0.6)): "one.jpg",
        face_key("http://c.example/2.jpg", (0.1, 0.4, 0.2, 0.6)): "x,y.jpg",
    }


def test_crop_columns_in_any_order(tmp_path):
    found = crops(tmp_path, "\ufeffpath,url,top,bottom,left,right", "one.jpg,http://a.example/1.jpg,0.2,0.6,0.1,0.4\r")
    assert found == {face_key("http://a.example/1.jpg", (0.1, 0.4, 0.2, 0.6)): "one.jpg"}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((f"{A},one.jpg",), "the first line is .*expected"),
        ((HEADER, f"{A},one.jpg", f"{C}"), "line 3: has no path"),
        ((HEADER, f"{A},one.jpg", ",0.1,0.4,0.2,0.6,two.jpg"), "line 3: has no url"),
        ((HEADER, f"{A},one.jpg,surplus"), "line 2: .*columns"),
        ((HEADER, f"{C.replace('0.4', '0.05')},one.jpg"), "line 2: left,right,top,bottom are"),
        ((HEADER, f"{A},one.jpg", f"{A},two.jpg"), "line 3: gives the path 'two.jpg'"),
        ((HEADER, f'{A},"one.jpg', f"{C},two.jpg"), "line 3: "),
    ],
)
def test_bad_crops_name_their_line(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words) as info:
        crops(tmp_path, *lines)
    assert str(info.value).startswith(f"{tmp_path / 'crops.csv'}: ") and "\n" not in str(info.value)


def test_crops_that_are_no_utf8(tmp_path):
    path = tmp_path / "crops.csv"
    path.write_bytes(f"{HEADER}\n".encode() + b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_crops(path)
