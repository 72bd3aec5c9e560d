"""``fecnet analyze``: tables of photos and videos, tracks, peaks and plots, and what is told of bad ones."""

import csv
import json
import sys
import weakref

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.analysis.analyse import face_rows
from fecnet.analysis.reading import FaceReader
from fecnet.cli.main import main
from fecnet.config.node import load_config
from fecnet.embed.sources import Sources
from fecnet.embed.videos import Video
from fecnet.runs.training import train_run
from tests.classes import CLASSES, write_recipe
from tests.faces.test_extract import Squares, photo
from tests.nets import noisy
from tests.videos import write_video

RATE = 10


@pytest.fixture
def run(aligned, monkeypatch):
    """A net trained on bright squares; the current folder is that of the pictures."""
    monkeypatch.chdir(aligned[2][0].parent)
    return aligned[0]


@pytest.fixture
def video(tmp_path):
    """Two faces for a second, of which the left one changes at 0.6 s; then none; then a cut and one face."""
    images = [photo((20 + k, 40), (200, 100), sides=[60, 50]) for k in range(10)]
    for k, image_HWC in enumerate(images):
        if k >= 6:
            image_HWC[55:70, 40:60] = 120
    shot = noisy(photo((100, 60), sides=[90]), 3)
    shot[150:] = 99
    return write_video(tmp_path / "video.mp4", [*images, photo(), *[shot] * 3], RATE)


def command(run, *arguments):
    return main(["analyze", *map(str, arguments), "--net", str(run), "--device", "cpu"])


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:  # noqa: PTH123 - as short
        return list(csv.DictReader(file))


def embeddings(rows):
    return np.array([[float(row[f"embedding_{d}"]) for d in range(16)] for row in rows], np.float32)


def left_over(folder):
    return [path.name for path in folder.iterdir() if "partial" in path.name]


def test_every_face_of_photos_has_a_row(run, aligned, capsys):
    (Image.fromarray(np.zeros((60, 60, 3), np.uint8))).save("empty.png")
    with open("broken.jpg", "wb") as file:  # noqa: PTH123
        file.write(b"none")
    assert command(run, ".") == 0
    told = capsys.readouterr().out
    rows = rows_of("faces.csv")
    assert [row["picture"] for row in rows] == ["0.png"] * 2 + ["1.png"] + ["2.png"] * 2 + ["3.png"] + ["4.png"] * 2
    assert all(row["frame"] == row["time_s"] == row["track"] == row["change"] == "" for row in rows)
    expected = fecnet.load(run).encode([f"{k}.png" for k in range(5)], faces="all")
    for row, box_4 in zip(rows, expected.box_N4.tolist(), strict=True):
        assert [float(row[name]) for name in ("x1", "y1", "x2", "y2")] == box_4
        assert float(row["score"]) == pytest.approx(0.9) and row["status"] == "ok"
    assert np.abs(expected.outputs["embedding"] - embeddings(rows)).max() <= 1e-5
    assert "7 photos: 8 faces; photos and frames without a face 2: " in told and "no_face 1" in told
    assert "100 80 160 140" in told and told.endswith("written: faces.csv\n")


def test_analyze_is_one_call(run, aligned):
    encoder = fecnet.load(run)
    faces = encoder.analyze("0.png")
    assert [face.box_4.tolist() for face in faces] == [[10, 10, 40, 40], [100, 80, 160, 140]]
    for face, vector_D in zip(faces, encoder.embed("0.png", faces="all"), strict=True):
        assert face.status == "ok" and face.score == pytest.approx(0.9) and face.expression is None
        assert np.array_equal(face.embedding_D, vector_D)
    (largest,) = encoder.analyze("0.png", faces="largest")
    assert largest.box_4.tolist() == faces[1].box_4.tolist()
    (whole,) = encoder.analyze("0.png", faces="whole")
    assert np.isnan(whole.box_4).all() and np.isnan(whole.score) and whole.status == "ok"
    assert encoder.analyze(photo()) == []
    with pytest.raises(ValueError, match=r"gone\.png: missing_file: no such file"):
        encoder.analyze("gone.png")


def test_faces_of_a_video_are_followed(run, video, capsys):
    arguments = ("--output", "video.csv", "--json", "video.json", "--plot", "video.png", "--peaks", "2")
    assert command(run, video, *arguments) == 0
    told = capsys.readouterr()
    rows = rows_of("video.csv")
    assert [(int(row["frame"]), int(row["track"])) for row in rows] == [
        *[(k, track) for k in range(10) for track in (1, 2)],
        *[(k, 3) for k in (11, 12, 13)],
    ]
    assert [float(row["time_s"]) for row in rows] == pytest.approx([int(row["frame"]) / RATE for row in rows])
    vectors = embeddings(rows)
    for row, vector_D in zip(rows, vectors, strict=True):
        if row["change"]:
            (since,) = [
                k for k, other in enumerate(rows) if (other["time_s"], other["track"]) == (row["since_s"], row["track"])
            ]
            assert float(row["time_s"]) - float(row["since_s"]) == pytest.approx(0.5)
            assert float(row["change"]) == pytest.approx(np.square(vector_D - vectors[since]).sum(), abs=1e-5)
    assert sum(bool(row["change"]) for row in rows) == 10
    found = json.loads(open("video.json").read())  # noqa: PTH123, SIM115
    assert [face["track"] for face in found["faces"]] == [int(row["track"]) for row in rows]
    assert found["read"] == {
        "photos": 0,
        "videos": 1,
        "frames": 14,
        "without_face": {"no_face": 1},
        "faces_by_status": {"ok": 23},
        "cuts": 1,
        "notes": [],
    }
    (peak,) = found["peaks"]  # the other face does not change
    assert peak["track"] == 1 and 0.6 <= peak["time_s"] <= 0.9 and peak["since_s"] < 0.6
    assert [(track["track"], track["faces"], track["last_s"]) for track in found["tracks"]] == [
        (1, 10, 0.9),
        (2, 10, 0.9),
        (3, 3, 1.3),
    ]
    assert f"{video}" in told.out and f"{peak['time_s']:.3f}" in told.out and "14/14" in told.err
    assert "14 frames of 1 video: 23 faces, 3 tracks, 1 cut; photos and frames without a face 1: no_face 1" in told.out
    assert Image.open("video.png").size[1] > 500


def test_rows_in_python_and_every_nth_frame(run, video):
    rows = list(face_rows(fecnet.load(run), Sources([video], every=4), over_s=0.2))
    assert [(row.frame, row.track) for row in rows] == [(0, 1), (0, 2), (4, 1), (4, 2), (8, 1), (8, 2), (12, 3)]
    assert [row.since_s for row in rows] == [None, None, 0.0, 0.0, 0.4, 0.4, None] and rows[4].change > rows[5].change


def test_json_alone_is_all_of_standard_output(run, capsys):
    assert command(run, "0.png", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["faces"]) == 2 and found["faces"][0]["x2"] == 40 and str(run) in found["net"]["name"]
    with pytest.raises(FileNotFoundError):
        rows_of("faces.csv")


def test_whole_pictures(run):
    assert command(run, "0.png", "--faces", "whole") == 0
    (row,) = rows_of("faces.csv")
    assert (row["x1"], row["x2"], row["y2"], row["score"]) == ("", "", "", "")
    assert np.abs(fecnet.load(run).embed("0.png", faces="whole") - embeddings([row])).max() <= 1e-5


def test_a_video_that_ends_early_or_is_none_is_told(run, video, capsys):
    content = video.read_bytes()
    (video.parent / "videos").mkdir()
    whole = write_video(video.parent / "videos" / "b.avi", [photo((20, 40))] * 12, RATE)
    whole.write_bytes(whole.read_bytes()[: round(0.7 * whole.stat().st_size)])
    (video.parent / "videos" / "a.mp4").write_bytes(content[:40])
    assert command(run, video.parent / "videos") == 0
    told = capsys.readouterr().out
    assert "b.avi: ends early: " in told and "a.mp4: not a video" in told and "frames of 2 videos" in told
    assert len(rows_of("faces.csv")) == sum(1 for _ in Video(whole).frames())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0.png", "--output", "faces.xlsx"], "faces.xlsx: '.xlsx' names no table to write here; allowed: .csv, .parq"),
        (["0.png", "--output", "0.csv"], "0.csv: exists already; use --overwrite to replace it"),
        (["0.png", "--plot", "plot.pdf"], "plot.pdf: --plot writes a file *.png"),
        (["0.png", "--peaks", "3"], "0.png: --peaks and --plot are of videos; there is none among the sources"),
        (["0.png", "--peaks", "-1"], "peaks: -1; allowed: 0 or more"),
        ([".", "--peaks", "1", "--over", "0"], "over: 0.0; allowed: seconds above 0"),
        ([".", "--plot", "plot.png"], "plot.png: --plot: no face was followed in a video: nothing to draw"),
        (["../set"], "../set: a packed data set has no photos; its vectors: fecnet embed"),
        (["0.png", "--every", "0"], "every: 0; allowed: 1 or more"),
        (["gone.png"], "gone.png: no such file or folder"),
    ],
)
def test_what_cannot_be_is_one_line(run, arguments, message, capsys, tmp_path):
    with open("0.csv", "w") as file:  # noqa: PTH123
        file.write("mine")
    assert command(run, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not left_over(tmp_path / "pictures") and not (tmp_path / "pictures" / "faces.csv").exists()


def test_parquet_without_pyarrow_is_one_line(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert command(run, "0.png", "--output", "faces.parquet") == 2
    assert "Parquet needs pyarrow; install it with: pip install 'fecnet[tables]'" in capsys.readouterr().err


def test_parquet_holds_the_same_as_csv(run, video):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'tables' is not installed")
    for name in ("video.csv", "video.parquet"):
        assert command(run, video, "0.png", "--output", name) == 0
    table, rows = parquet.read_table("video.parquet"), rows_of("video.csv")
    assert table.column_names == list(rows[0]) and table.num_rows == len(rows) == 25
    for cells, row in zip(table.to_pylist(), rows, strict=True):
        for name, value in cells.items():
            text = row[name]
            assert (
                value is None
                if text == ""
                else value == (text if isinstance(value, str) else pytest.approx(float(text)))
            )


def test_frames_that_are_held_do_not_grow_with_the_video(run, tmp_path, monkeypatch):
    """Only those on their way to the face maker; of faces only a batch."""
    video = write_video(tmp_path / "long.avi", [photo((20, 40), (200, 100))] * 60, RATE)
    alive, frames, most = [], Video.frames, 0

    def watched(*arguments):
        for frame in frames(*arguments):
            alive.append(weakref.ref(frame.image_HWC))
            yield frame

    monkeypatch.setattr(Video, "frames", watched)
    reader = FaceReader(fecnet.load(run, batch_size=4), Sources([video]))
    for _ in reader.rows():
        most = max(most, sum(ref() is not None for ref in alive))
        assert len(reader._waiting) <= 4 + 8
    assert len(alive) == 60 and most <= 6


def test_each_picture_is_detected_once(run, video, monkeypatch):
    """Aligned nets too: a face is aligned by the landmarks that were found with it."""
    seen, detect = [], Squares.detect
    monkeypatch.setattr(
        Squares, "detect", lambda self, image_HWC: seen.append(image_HWC.shape) or detect(self, image_HWC)
    )
    assert command(run, video, "0.png", "2.png", "--output", "faces.csv") == 0
    assert len(seen) == 14 + 2 and len(rows_of("faces.csv")) == 23 + 4


def test_the_largest_face_of_each(run, video):
    assert command(run, video, "0.png", "--faces", "largest") == 0
    rows = rows_of("faces.csv")
    assert [row["track"] for row in rows] == ["1"] * 10 + ["2"] * 3 + [""] and rows[-1]["x2"] == "160"


def test_videos_of_whole_faces_are_one_track(run, video):
    assert command(run, video, "--faces", "whole", "--every", "2") == 0
    rows = rows_of("faces.csv")
    assert [row["track"] for row in rows] == ["1"] * 6 + ["2"] and {row["x1"] + row["score"] for row in rows} == {""}


def test_a_net_with_classes_whose_faces_nobody_aligned(tmp_path, monkeypatch, squares, capsys):
    """Each face is cut as the square around the box, and a line says so; probabilities are those of ``classify``."""
    monkeypatch.setattr("fecnet.encoder.face_maker.build_detector", lambda *_, **__: Squares())
    assert train_run(load_config(write_recipe(tmp_path, "joint"), ["SOLVER.LENGTH", "2"]), recipe="joint") == 0
    run = tmp_path / "result" / "joint"
    Image.fromarray(noisy(photo((10, 10), (100, 80), sides=[30, 60]), 1)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert command(run, "a.png") == 0
    assert "does not say how much its pictures show around a face" in capsys.readouterr().out
    encoder = fecnet.load(run)
    found = encoder.classify("a.png", faces="all")
    assert len(found.names) == 2
    for k, (row, face) in enumerate(zip(rows_of("faces.csv"), encoder.analyze("a.png"), strict=True)):
        assert row["expression"] == face.expression == found.names[k]
        told = [float(row[f"probability_{name}"]) for name in CLASSES]
        assert np.array_equal(np.float32(told), face.probability_K)  # nothing is lost in the table
        assert np.abs(face.probability_K - found.probability_NK[k]).max() <= 1e-6
        assert row["embedding_0"]
