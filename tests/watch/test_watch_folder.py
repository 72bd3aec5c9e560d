"""``fecnet watch`` of a folder: each photo and video of it, and those that cannot be read are told."""

import csv

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.embed.videos import Video
from fecnet.watch.folder import annotated
from tests.faces.test_extract import photo
from tests.videos import write_video


@pytest.fixture
def folder(aligned, monkeypatch):
    """Five photos of bright squares, a broken one, a video in a folder, and a video of one broken."""
    pictures = aligned[2][0].parent
    monkeypatch.chdir(pictures.parent)
    (pictures / "deeper").mkdir()
    write_video(pictures / "deeper" / "video.avi", [photo((20 + k, 40)) for k in range(4)], 10)
    (pictures / "broken.jpg").write_bytes((pictures / "0.png").read_bytes()[:200])
    (pictures / "broken.mp4").write_bytes(b"\0" * 500)
    (pictures / "notes.txt").write_text("no picture")
    Image.fromarray(photo((30, 30))).save(pictures / "more.webp", lossless=True)
    return pictures


def command(run, *arguments):
    return main(["watch", str(run), *map(str, arguments), "--device", "cpu", "--no-window"])


def test_every_photo_and_video_of_a_folder(aligned, folder, capsys):
    assert command(aligned[0], folder.name, "--table", "faces.csv") == 0
    told = capsys.readouterr()
    written = folder.with_name("pictures.watched")
    names = {path.relative_to(written).as_posix() for path in written.rglob("*.*")}
    assert names == {*(f"{k}.png" for k in range(5)), "more.webp.png", "deeper/video.avi"}
    assert len(list(Video(written / "deeper" / "video.avi").frames())) == 4
    assert not np.array_equal(np.asarray(Image.open(written / "0.png")), np.asarray(Image.open(folder / "0.png")))
    with (folder.parent / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    number = {row["picture"]: sum(other["picture"] == row["picture"] for other in rows) for row in rows}
    assert number == {
        **{f"pictures/{k}.png": num for k, num in enumerate((2, 1, 2, 1, 2))},
        "pictures/more.webp": 1,
        "pictures/deeper/video.avi": 4,
    }
    changes = {row["picture"] for row in rows if row["change"]}
    assert changes == {"pictures/deeper/video.avi"}  # no photo is compared with the one before
    assert "passed over: pictures/broken.jpg: truncated" in told.out
    assert "passed over: pictures/broken.mp4: not a video" in told.out
    assert "pictures: 7 photos and videos; 2 cannot be read; passed over: 1 other files" in told.out


def test_a_folder_that_does_not_fit_is_one_line(aligned, folder, capsys):
    (folder.parent / "empty").mkdir()
    (folder.parent / "bad").mkdir()
    (folder.parent / "bad" / "a.png").write_bytes(b"none")
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "0.png").write_bytes(b"mine")
    for words, message in [
        (("empty",), "empty: no pictures in it"),
        (("bad",), "bad: none of 1 pictures in it can be read"),
        (("pictures", "--output", "pictures/out"), "pictures/out: is inside the folder that is read; give another"),
        (("pictures", "--output", "pictures/0.png"), "0.png: is inside the folder that is read"),
        (("pictures", "--output", "list.csv"), "list.csv: a file; the output for a folder is a folder"),
        (("pictures", "--output", "out"), "out/0.png: exists already; use --overwrite to replace it"),
        (("pictures", "--table", "faces.txt"), "faces.txt: '.txt' names no file to write here; allowed: .csv"),
    ]:
        assert command(aligned[0], *words) == 2, words
        assert message in capsys.readouterr().err
    assert (folder.parent / "out" / "0.png").read_bytes() == b"mine"


def test_names_of_annotated_files():
    assert [annotated(name) for name in ("a/b.PNG", "b.heic", "c.mp4", "c.mkv")] == [
        "a/b.PNG",
        "b.heic.png",
        "c.mp4",
        "c.mkv.mp4",
    ]
