"""``fecnet prepare auto``: the source of each layout of the page, and of lists, without a pixel read."""

import numpy as np
import pytest

from fecnet.cli.main import main
from fecnet.faces import decode
from fecnet.prepare.recognition import recognise
from fecnet.utils.errors import DataError
from tests.prepare.test_folder_matrix import ROWS as FOLDER_ROWS
from tests.prepare.test_list_matrix import ROWS as LIST_ROWS
from tests.prepare.trees import grow

PLAIN = ("Kaggle folders `train/angry`", "folders by number", "folders with splits and", "mirror in words")


@pytest.fixture(autouse=True)
def no_pixels(monkeypatch):
    monkeypatch.setattr(decode, "_decode_file", None)


@pytest.mark.parametrize("row", FOLDER_ROWS, ids=lambda row: row.release.strip("`")[:30])
def test_folders_of_the_page(tmp_path, row):
    """Folders of classes that nothing tells from any others are read as such; several readings are shown."""
    grow(tmp_path / "IN", *row.pictures, *row.lists)
    for name, text in row.lists.items():
        (tmp_path / "IN" / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    source, path, *levels = row.command.removesuffix(" PATH").replace(" PATH", "").split()[2:]
    if levels:
        with pytest.raises(DataError, match="two readings; choose --levels "):
            recognise(tmp_path / path)
    else:
        assert recognise(tmp_path / path).source == ("folder" if row.release.startswith(PLAIN) else source)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("row", LIST_ROWS, ids=lambda row: row.release.replace("`", "")[:30])
def test_lists_of_the_page(tmp_path, row):
    row.make(tmp_path / "IN")
    source, path, *options = row.command.split()
    if "--path-column" in options:
        with pytest.raises(DataError, match="--path-column"):
            recognise(tmp_path / path)
        return
    fit = recognise(tmp_path / path)
    assert fit.source == source and fit.words == (str(tmp_path / path), *options)


@pytest.mark.parametrize(
    ("name", "text", "source"),
    [
        ("a.csv", "http://a/b.jpg,0,1,0,1,http://a/c.jpg,0,1,0,1,http://a/d.jpg,0,1,0,1,ONE_CLASS_TRIPLET,a,1", "fec"),
        ("a.csv", "a.jpg,b.jpg,c.jpg,1,ONE_CLASS_TRIPLET", "list"),
        ("a.csv", "img1,img2,img3,label,type\na,b,c,1,ONE_CLASS_TRIPLET", "list"),
        ("a.csv", "a,b,c,odd,rater\na.jpg,b.jpg,c.jpg,1,Ann", "triplets"),
        ("a.csv", "img1,img2,img3,votes_1,votes_2,votes_3\na.jpg,b.jpg,c.jpg,1,0,3", "triplets"),
        ("a.csv", "path,label,x1,y1,x2,y2\na.jpg,happy,1,2,3,4", "csv"),
        ("label.lst", "a.jpg 0 1 1 9 9 50.0 3", "expw"),
    ],
)
def test_lists_by_their_first_lines(tmp_path, name, text, source):
    (tmp_path / name).write_text(text)
    assert recognise(tmp_path / name).source == source


def test_absolute_paths_are_allowed_in_the_command(tmp_path):
    (tmp_path / "a.csv").write_text(f"path,label\n{tmp_path / 'a.jpg'},happy\n{tmp_path / 'b.jpg'},sad")
    assert recognise(tmp_path / "a.csv").words == (str(tmp_path / "a.csv"), "--allow-absolute")


@pytest.mark.parametrize(
    ("header", "rest", "words"),
    [
        ("a,b,c,odd,rater", "b.jpg,c.jpg,1,Ann", ("triplets", "FOLDER", "--allow-absolute")),
        ("img1,img2,img3,label,type", "b.jpg,c.jpg,1,ONE_CLASS_TRIPLET", ("list", "FOLDER", "--allow-absolute")),
        ("path,happy,sad", "3,1", ("csv", "--votes", "happy,sad", "--allow-absolute")),
    ],
)
def test_absolute_paths_are_allowed_of_triplets_and_votes_too(tmp_path, header, rest, words):
    """Seen in any row, not only in the first."""
    path, rows = tmp_path / "a.csv", (f"x.jpg,{rest}", f"{tmp_path / 'y.jpg'},{rest}")
    path.write_text("\n".join((header, *rows)))
    source, *given = (str(tmp_path) if word == "FOLDER" else word for word in words)
    fit = recognise(path)
    assert (fit.source, fit.words) == (source, (str(path), *given))
    path.write_text("\n".join((header, *rows[:1])))
    assert "--allow-absolute" not in recognise(path).words


def test_lists_of_splits_of_affectnet_are_one_source(tmp_path):
    for name in ("train.csv", "val.csv"):
        (tmp_path / name).write_text("image,x1,y1,x2,y2,exp,val,aro\na.jpg,1,1,9,9,1,0.5,0.5\n")
    fit = recognise(tmp_path)
    assert (fit.source, fit.words) == ("affectnet", (str(tmp_path),))


def test_arrays_by_their_names(tmp_path):
    np.savez(tmp_path / "a.npz", images=[0], label=[0], classes=["a"], filename=["b"])
    assert recognise(tmp_path / "a.npz").source == "ckplus"
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"b\.npz: damaged"):
        recognise(tmp_path / "b.npz")


def test_the_command_says_why_and_what_to_type(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos.csv").write_text("photo,emotion,person\na.jpg,happy,Ann\nb.jpg,sad,Bo\nc.jpg,sad,Bo\n")
    assert main(["prepare", "auto", "my photos.csv"]) == 0
    said = capsys.readouterr().out
    assert "my photos.csv: csv fits: 3 pictures, 2 classes (happy, sad), 2 people\n" in said
    assert "\nfecnet prepare csv 'my photos.csv' 'datasets/my photos'\n" in said
    assert [found.name for found in tmp_path.iterdir()] == ["my photos.csv"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "IN: no source fits; seen: nothing"),
        ({"notes.md": "x"}, "IN: no source fits; seen: notes.md"),
        ({"a.csv": "path,label\na.jpg,b", "b.csv": "path,label\na.jpg,b"}, "several lists: .*; give the path of one"),
    ],
)
def test_what_fits_nothing_is_one_line(tmp_path, files, said):
    (tmp_path / "IN").mkdir()
    for name, text in files.items():
        (tmp_path / "IN" / name).write_text(text)
    with pytest.raises(DataError, match=said):
        recognise(tmp_path / "IN")
    with pytest.raises(DataError, match="gone: no such folder"):
        recognise(tmp_path / "gone")
