"""``fecnet embed``: every picture has its row; what it does not write over; mistakes."""

import csv
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.embed import shards
from fecnet.embed.embedding import embed_sources
from fecnet.embed.sources import Sources
from tests.conftest import write_tiny


def embed(run, *arguments):
    """With the pictures as faces: they are noise."""
    whole = () if "--faces" in arguments else ("--faces", "whole")
    return main(["embed", str(run), *map(str, arguments), *whole, "--device", "cpu"])


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_has_a_row_for_each_picture(run, encoder, photos, tmp_path, capsys):
    assert embed(run, photos, "--output", tmp_path / "out.npy") == 0
    rows = table(tmp_path / "out.csv")
    files = sorted(file for file in photos.glob("*") if file.suffix in (".png", ".jpg") and file.name[0] != ".")
    files = [*files, *sorted((photos / "deeper" / "still").iterdir())]
    assert {row["name"] for row in rows} == {str(file) for file in files} and len(rows) == 11
    assert [row["status"] for row in rows] == ["truncated" if "broken" in row["name"] else "ok" for row in rows]
    expected = encoder.embed([row["name"] for row in rows], faces="whole")
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6, equal_nan=True)
    said = "out.npy: 10 vectors of 16; 1 pictures without one: truncated 1; passed over: 1 other files"
    assert said in capsys.readouterr().out
    assert not list(tmp_path.glob("*.shards")) and not list(tmp_path.glob(".*"))


def test_the_formats_hold_the_same(run, photos, tmp_path):
    for kind, name in (("npy", "out.npy"), ("csv", "table.csv"), ("mirrored", "tree")):
        assert embed(run, photos, "--features", "--format", kind, "--output", tmp_path / name) == 0
    expected, rows = np.load(tmp_path / "out.npy"), table(tmp_path / "table.csv")
    assert [{key: row[key] for key in ("name", "status")} for row in rows] == [
        {key: row[key] for key in ("name", "status")} for row in table(tmp_path / "tree" / "status.csv")
    ]
    assert len(list((tmp_path / "tree").rglob("*.npy"))) == 10
    for vector_D, row in zip(expected, rows, strict=True):
        numbers = [row[f"v{place}"] for place in range(16)]
        mirrored = tmp_path / "tree" / f"{row['name'].removeprefix(str(photos) + '/')}.npy"
        if row["status"] == "ok":  # to the bit
            assert np.array_equal(np.array(numbers, np.float32), vector_D)
            assert np.array_equal(np.load(mirrored), vector_D)
        else:
            assert set(numbers) == {""} and not mirrored.exists() and np.isnan(vector_D).all()


def test_packed_sets_lists_and_photos_together(run, encoder, photos, tmp_path):
    dataset = PackedDataset(run.parents[1] / "tiny")
    (photos / "list.txt").write_text("1.png\n\ndeeper/still/8.png\ngone.png\n")
    (photos / "list.csv").write_text("path,label\n3.png,glad\n")
    given = [dataset.path, photos / "list.txt", photos / "list.csv", photos / "2.png"]
    assert embed(run, *given, "--output", tmp_path / "out.npy") == 0
    found, rows = np.load(tmp_path / "out.npy"), table(tmp_path / "out.csv")
    assert [row["frame"] for row in rows] == [*map(str, range(60)), *[""] * 5]
    assert [row["status"] for row in rows[60:]] == ["ok", "ok", "missing_file", "ok", "ok"]
    assert np.abs(found[:60] - encoder.embed(dataset.faces_NHWC)).max() <= 1e-5
    named = [photos / "1.png", photos / "deeper" / "still" / "8.png", photos / "3.png", photos / "2.png"]
    assert np.abs(found[[60, 61, 63, 64]] - encoder.embed(named, faces="whole")).max() <= 1e-5
    assert embed(run, *given, "--format", "mirrored", "--output", tmp_path / "tree") == 0
    made = {file.relative_to(tmp_path / "tree").as_posix() for file in (tmp_path / "tree").rglob("*.npy")}
    assert {"tiny/00000059.npy", "list.txt/deeper/still/8.png.npy", "list.csv/3.png.npy", "2.png/2.png.npy"} <= made
    assert len(made) == 64
    assert embed(run, photos, photos, "--format", "mirrored", "--output", tmp_path / "twice") == 0
    for number in range(2):
        assert len(list((tmp_path / "twice" / f"{number:03d}-photos").rglob("*.npy"))) == 10


@pytest.mark.parametrize("given", ["photos", "photos/deeper/still/8.png", "link", "list"])
def test_a_folder_with_a_source_in_it_is_not_replaced(run, photos, tmp_path, given, capsys):
    """Even one that looks as if it was made here."""
    (photos / "status.csv").write_text("name,frame,time_s,status,x1,y1,x2,y2,score\n")
    (tmp_path / "link").symlink_to(photos / "deeper")
    (tmp_path / "list.txt").write_text("photos/1.png\n")
    source = tmp_path / ("list.txt" if given == "list" else given)
    before = sorted(photos.rglob("*"))
    assert embed(run, source, "--format", "mirrored", "--output", photos, "--overwrite") == 2
    assert f"{photos}: " in capsys.readouterr().err.splitlines()[-1]
    assert sorted(photos.rglob("*")) == before


@pytest.mark.parametrize("added", ["deeper/0.png", "notes", "link.npy", "other header", "no header", "is a link"])
def test_only_a_folder_made_here_is_replaced(run, photos, tmp_path, added, capsys):
    tree = tmp_path / "tree"
    arguments = (photos, "--format", "mirrored", "--output", tree, "--overwrite")
    assert embed(run, *arguments) == embed(run, *arguments) == 0
    if added == "link.npy":
        (tree / added).symlink_to(photos)
    elif added == "is a link":
        tree.rename(tmp_path / "elsewhere")
        tree.symlink_to(tmp_path / "elsewhere")
    elif "header" in added:
        (tree / "status.csv").write_text("name,status\n" if added == "other header" else "")
    else:
        (tree / added).write_text("mine")
    before = sorted(tree.rglob("*"))
    assert embed(run, *arguments) == 2
    assert f"{tree}: a folder with files that this command did not make" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(tree.rglob("*")) == before


def test_a_folder_that_links_to_itself_ends(photos):
    (photos / "deeper" / "again").symlink_to(photos)
    found = [path for piece in Sources([photos]).pieces() for path, _ in piece.photos]
    assert len(found) == len(set(found)) == 11


def test_mistakes_are_one_line_and_exit_code_2(run, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "here.npy").write_bytes(b"")
    (tmp_path / "mine").mkdir()
    (photos / "photos.csv").write_text("path\n0.png\n")
    write_tiny(tmp_path / "small", size=32)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "list.csv").write_text("person,label\nann,glad\n")
    (tmp_path / "nothing.csv").write_text("")
    mistakes = {
        (tmp_path / "empty",): "empty: no pictures in it; passed over: 0 other files",
        (tmp_path / "gone",): "gone: no such file or folder",
        (photos / "notes.pdf",): "notes.pdf: no such file or folder",
        (run / "config.yaml",): "'.yaml' names no picture, video or list; allowed: ",
        (photos, tmp_path / "empty"): "empty: no pictures in it; passed over: 0 other files",
        (tmp_path / "list.txt",): "list.txt: not a list of photos in UTF-8",
        (tmp_path / "list.csv",): "list.csv: a list of photos without a column 'path'; columns seen: person, label",
        (tmp_path / "nothing.csv",): "nothing.csv: a list of photos without a column 'path'; columns seen: none",
        (photos, "--output", tmp_path / "here.npy"): "here.npy: exists already; use --overwrite",
        (photos / "photos.csv", "--output", photos / "photos.npy", "--overwrite"): "photos.csv: would be written over",
        (photos, "--output", tmp_path / "out.txt"): "out.txt: format npy writes a file *.npy",
        (
            photos,
            "--format",
            "mirrored",
            "--output",
            tmp_path / "mine",
            "--overwrite",
        ): "mine: a folder with files that this comm",
        (photos, "--every", "0"): "every: 0; allowed: 1 or more",
        (tmp_path / "small",): "small: faces of (32, 32, 1) ['grey']; ",
        (
            tmp_path / "small",
            "--faces",
            "all",
        ): "small: --faces all: faces of a packed set are cut already; allowed: auto",
    }
    for arguments, said in mistakes.items():
        output = () if "--output" in arguments else ("--output", tmp_path / "new.npy")
        assert embed(run, *arguments, *output) == 2, arguments
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and said in error, (arguments, error)
    assert not list(tmp_path.glob("new.npy*"))
    assert embed(tmp_path / "nothing", photos) == 2
    assert "no checkpoint here" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["csv", "npy", "mirrored"])
def test_all_faces_have_a_row_each_with_box_and_score(aligned, tmp_path, kind):
    """Of two photos with two faces, one with one, and one without any, which has a row too."""
    run, _, pictures, images = aligned
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(tmp_path / "empty.png")
    out = tmp_path / {"csv": "out.csv", "npy": "out.npy", "mirrored": "out"}[kind]
    sources = (pictures[0], tmp_path / "empty.png", *pictures[2:4])
    assert embed(run, *sources, "--faces", "all", "--format", kind, "--output", out) == 0
    rows = table(out / "status.csv" if kind == "mirrored" else out.with_suffix(".csv"))
    assert [Path(row["name"]).name for row in rows] == ["0.png", "0.png", "empty.png", "2.png", "2.png", "3.png"]
    assert [row["status"] for row in rows] == ["ok", "ok", "no_face", "ok", "ok", "ok"]
    boxes = [[row[edge] for edge in ("x1", "y1", "x2", "y2", "score")] for row in rows[:3]]
    assert boxes[1] == ["100.00", "80.00", "160.00", "140.00", "0.9000"] and boxes[2] == [""] * 5
    expected = fecnet.load(run).embed(images[0], faces="all")
    if kind == "npy":
        assert np.abs(np.load(out)[:2] - expected).max() <= 1e-5
    if kind == "mirrored":
        made = sorted(file.relative_to(out).as_posix() for file in out.rglob("*.npy"))
        assert made[:2] == ["0.png/0.png.0.npy", "0.png/0.png.1.npy"] and len(made) == 5


def test_pieces_of_all_faces_are_taken_up_again(aligned, tmp_path, monkeypatch):
    """Pictures are counted, not faces."""
    run, _, pictures, _ = aligned
    encoder, how = fecnet.load(run, device="cpu"), {"faces": "all", "progress": False}
    embed_sources(encoder, Sources([pictures[0].parent]), tmp_path / "once.npy", **how)
    monkeypatch.setattr(shards, "PIECE", 2)
    replace, parts = shards.replace_arrays, []

    def stop_at_the_second(path, **arrays):
        parts.append(path)
        if len(parts) == 2:
            raise KeyboardInterrupt
        replace(path, **arrays)

    monkeypatch.setattr(shards, "replace_arrays", stop_at_the_second)
    for _ in range(2):  # the second goes on after the first two pictures
        with suppress(KeyboardInterrupt):
            embed_sources(encoder, Sources([pictures[0].parent]), tmp_path / "parts.npy", **how)
    assert len(parts) == 4
    for suffix in (".npy", ".csv"):
        once, again = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("once", "parts"))
        assert once == again
