"""ExpW's list as published and as copies write it."""

import pytest

from fecnet.prepare.labelled.expw import read_expw
from fecnet.utils.errors import DataError
from tests.prepare.test_labelled_layouts import dropped, found, write

NAMES = "image_name face_id_in_image face_box_top face_box_left face_box_right face_box_bottom face_box_cofidence"
HEADER = f"{NAMES} expression_label"
LINES = ["a b.jpg 0 28 113 226 141 22.9362 0", "c.jpg 1 28.0 113.0 226.0 141.0 22.9 6.0"]
FACES = [("a b.jpg", "angry", "all"), ("c.jpg", "neutral", "all")]


def commas(line):
    return ",".join(line.rsplit(maxsplit=7))


@pytest.mark.parametrize(
    "lines",
    [
        LINES,
        [line.replace(" ", "\t").replace("a\tb", "a b") for line in LINES],
        [HEADER, *LINES],
        [commas(line) for line in LINES],
        [commas(HEADER), *map(commas, LINES)],
        ["," + commas(HEADER), *(f"{row},{commas(line)}" for row, line in enumerate(LINES))],  # of a data-frame library
        [
            HEADER.replace("top face_box_left", "left face_box_top"),
            *(
                line.replace("28 113", "113 28")
                for line in ["a b.jpg 0 28 113 226 141 2 0", "'c.jpg' 1 28 113 226 141 2 6"]
            ),
        ],
        [line.rpartition(" ")[0] + word for line, word in zip(LINES, (" Anger", " neutral"), strict=True)],
    ],
)
def test_forms_of_the_list(tmp_path, lines):
    source = read_expw(write(tmp_path / "label.lst", "\n".join(lines)).parent)
    assert found(source) == FACES
    assert {picture.box for picture in source.pictures} == {(113, 28, 226, 141)}
    assert dropped(source) == {}


def test_labels_from_one_and_unknown_words(tmp_path, capsys):
    line = "a.jpg 0 28 113 226 141 22.9"
    source = read_expw(write(tmp_path / "label.lst", f"{line} 1\n{line} 7\n"))
    assert [word for _, word, _ in found(source)] == ["angry", "neutral"]
    assert "labels count from 1" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"label\.lst: unknown labels 'bored', 'shy'"):
        read_expw(write(tmp_path / "label.lst", f"{line} bored\n{line} shy\n"))


def test_boxes_may_be_broken_numbers_and_columns_may_lack(tmp_path):
    source = read_expw(
        write(tmp_path / "label.lst", "a.jpg 0 28.5 113 226 nan 22.9 1\na.jpg 1 28.5 113 226 141 22.9 1\n")
    )
    assert [picture.box for picture in source.pictures] == [(113, 28.5, 226, 141)]
    assert dropped(source) == {"all": {"bad_line": 1}}
    with pytest.raises(DataError, match=r"label\.lst: no column face_box_left; seen: image_name, face_id"):
        read_expw(write(tmp_path / "label.lst", HEADER.replace("face_box_left", "left") + "\na.jpg 1 1 1 2 2 1 1\n"))
