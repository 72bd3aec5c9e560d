"""Videos: frames with their times, read one at a time, also where the file ends early or the work was killed."""

import csv
import re
import sys
import weakref

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.embed import shards
from fecnet.embed.embedding import embed_sources
from fecnet.embed.sources import Sources
from fecnet.embed.videos import Video
from fecnet.encoder import face_maker
from fecnet.encoder.face_maker import FaceMaker
from fecnet.encoder.face_net import FaceNet
from tests.conftest import write_tiny
from tests.nets import train_on
from tests.videos import shade, write_video

FRAMES, RATE = 40, 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    return train_on(write_tiny(folder / "tiny"), folder)


@pytest.fixture
def video(tmp_path):
    """A video of 40 frames, each of them of another brightness."""
    return write_video(tmp_path / "video.avi")


def test_every_nth_frame_with_its_time(video):
    frames = list(Video(video).frames(every=5))
    assert [frame.number for frame in frames] == list(range(0, FRAMES, 5))
    assert [frame.time_s for frame in frames] == pytest.approx([number / RATE for number in range(0, FRAMES, 5)])
    for number, _, image_HWC in frames:
        assert image_HWC.shape == (48, 64, 3) and image_HWC.dtype == np.uint8
        wanted = (6 * number, 5 * number % 200, 2 * number)
        assert np.abs(image_HWC.mean((0, 1)) - wanted).max() < 6
    later = list(Video(video).frames(every=5, first=20))
    assert [frame.number for frame in later] == [20, 25, 30, 35]
    assert np.array_equal(later[0].image_HWC, frames[4].image_HWC)


def test_a_video_in_the_table(run, video, tmp_path):
    arguments = [str(video), "--every", "4", "--output", str(tmp_path / "out.csv"), "--format", "csv"]
    assert main(["embed", str(run), *arguments, "--faces", "whole", "--device", "cpu"]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(0, FRAMES, 4))
    assert [float(row["time_s"]) for row in rows] == [number / RATE for number in range(0, FRAMES, 4)]
    expected = fecnet.load(run, device="cpu").embed(
        [frame.image_HWC for frame in Video(video).frames(4)], faces="whole"
    )
    found = np.array([[float(row[f"v{place}"]) for place in range(16)] for row in rows], np.float32)
    assert np.abs(found - expected).max() <= 1e-5


def test_a_video_that_ends_early_is_told_and_its_frames_are_there(run, video, tmp_path, capsys):
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    out = tmp_path / "out.npy"
    assert main(["embed", str(run), str(video), "--output", str(out), "--faces", "whole", "--device", "cpu"]) == 0
    num = len(np.load(out))
    assert 0 < num < FRAMES
    told = capsys.readouterr().out
    assert (
        f"video.avi: ends early: {num} frames, up to {(num - 1) / RATE:.3f} s; " in told and " bytes are there" in told
    )


def test_what_is_no_video_is_one_line(run, tmp_path, capfd):
    (tmp_path / "video.mp4").write_bytes(b"\0" * 500)
    assert main(["embed", str(run), str(tmp_path / "video.mp4"), "--output", str(tmp_path / "out.npy")]) == 2
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1 and "video.mp4: not a video that PyAV" in told[0]  # no line of FFmpeg's
    with pytest.raises(ValueError, match="gone: no such file"):
        Video(tmp_path / "gone")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_videos_of_folders_and_lists_stand_among_the_photos(run, tmp_path, capsys):
    """In their order, each frame with its place; a video that cannot be read is a row that says so, and a line."""
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "c.png", "z.png"):
        Image.fromarray(shade(9)).save(folder / name)
    write_video(folder / "b.avi", 4)
    write_video(folder / "more" / "video.MKV", 3)
    (folder / "d.mov").write_bytes(b"nothing")
    (folder / "notes.doc").write_text("")
    (folder / "list.csv").write_text("path\nb.avi\nc.png\ngone.mp4\n")
    out = tmp_path / "out.csv"
    command = ["embed", str(run), str(folder), "--every", "2", "--output", str(out), "--format", "csv"]
    assert main([*command, "--faces", "whole", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert f"{folder}/d.mov: not a video that PyAV" in told
    assert "7 vectors of 16; 1 pictures without one: not_an_image 1; passed over: 2 other files" in told
    rows = [(row["name"].removeprefix(f"{folder}/"), row["frame"], row["time_s"]) for row in rows_of(out)]
    assert rows == [
        ("a.png", "", ""),
        *[("b.avi", "0", "0.000"), ("b.avi", "2", "0.100")],
        *[("c.png", "", ""), ("d.mov", "", "")],
        *[("more/video.MKV", "0", "0.000"), ("more/video.MKV", "2", "0.100")],
        ("z.png", "", ""),
    ]
    encoder = fecnet.load(run, device="cpu")
    tree = embed_sources(encoder, Sources([folder]), tmp_path / "tree", kind="mirrored", faces="whole", progress=False)
    found = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.npy"))
    frames = [f"b.avi/{number:08d}.npy" for number in range(4)] + [f"more/video.MKV/{n:08d}.npy" for n in range(3)]
    assert found == sorted(["a.png.npy", "c.png.npy", "z.png.npy", *frames])
    how = {"kind": "csv", "faces": "whole", "progress": False}
    listed = embed_sources(encoder, Sources([folder / "list.csv"]), tmp_path / "listed.csv", **how)
    assert [(row["frame"], row["status"]) for row in rows_of(listed)] == [
        *[(str(number), "ok") for number in range(4)],
        *[("", "ok"), ("", "missing_file")],
    ]
    assert f"{folder}/gone.mp4: no such file" in capsys.readouterr().out


def test_without_pyav_videos_are_one_line_or_counted(run, video, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=re.escape("videos need PyAV; install it with: pip install 'fecnet[video]'")):
        Video(video)
    (tmp_path / "mixed").mkdir()
    video.rename(tmp_path / "mixed" / "video.avi")
    command = [
        "embed",
        str(run),
        str(tmp_path / "mixed"),
        "--output",
        str(tmp_path / "out.npy"),
        "--faces",
        "whole",
        "--device",
        "cpu",
    ]
    assert main(command) == 2
    said = "no pictures in it; passed over: 1 videos, which pip install 'fecnet[video]' lets be read"
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)
    Image.fromarray(shade(9)).save(tmp_path / "mixed" / "a.png")
    assert main(command) == 0
    assert "1 vectors of 16; passed over: 1 videos, which pip install" in capsys.readouterr().out


class Alive:
    """Counts pictures that somebody still holds."""

    def __init__(self):
        self.references, self.most = [], 0

    def see(self, image_HWC):
        self.references = [one for one in self.references if one() is not None] + [weakref.ref(image_HWC)]
        self.most = max(self.most, len(self.references))
        return image_HWC


def test_a_video_is_held_a_few_frames_at_a_time(run, video, monkeypatch):
    read, copied = Alive(), Alive()
    frames, as_photo = Video.frames, face_maker.as_photo

    def watched(self, every=1, first=0):
        for frame in frames(self, every, first):
            read.see(frame.image_HWC)
            yield frame

    monkeypatch.setattr(Video, "frames", watched)

    def seen(item, **how):
        read_photo = as_photo(item, **how)
        copied.see(read_photo.image_HWC)
        return read_photo

    monkeypatch.setattr(face_maker, "as_photo", seen)
    (piece,) = Sources([video]).pieces()
    (rows,) = shards.embedded(fecnet.load(run, device="cpu", batch_size=4), piece.frames(0), "embedding", faces="whole")
    assert len(rows.status) == FRAMES
    assert read.most <= 3 and copied.most <= 8 + 1  # what the detector would see at once, and the next


@pytest.mark.parametrize("batch_size", [3, 4])
def test_a_video_goes_on_where_it_was_killed(run, video, tmp_path, monkeypatch, batch_size):
    """Pictures go to detector and net together as they would have, also where a batch does not divide a shard."""
    monkeypatch.setattr(shards, "PIECE", 10)
    encoder = fecnet.load(run, device="cpu", batch_size=batch_size)
    frames, forward, replace = Video.frames, FaceNet.forward, shards.replace_arrays
    read, together, sizes = [], [], []

    def watched(self, every=1, first=0):
        for frame in frames(self, every, first):
            read.append(frame.number)
            yield frame

    def write(path, **arrays):
        replace(path, **arrays)
        sizes.append(len(arrays["number"]))

    def write_then_fail(path, **arrays):
        write(path, **arrays)
        if sizes == [10, 10]:
            raise KeyboardInterrupt

    def as_they_are(self, held, *more):
        together.append(len(held))
        return made(self, held, *more)

    def forward_and_note(self, faces, **options):
        together.append(-len(faces))
        return forward(self, faces, **options)

    made = FaceMaker._in_order
    monkeypatch.setattr(FaceMaker, "_in_order", as_they_are)
    monkeypatch.setattr(FaceNet, "forward", forward_and_note)
    monkeypatch.setattr(Video, "frames", watched)
    monkeypatch.setattr(shards, "replace_arrays", write)
    encoder.embed([np.zeros(encoder.face_shape, np.uint8)], faces="whole")  # forward passes before the first are seen
    together.clear()
    embed_sources(encoder, Sources([video]), tmp_path / "whole.npy", faces="whole", progress=False)
    assert sizes == [10] * 4
    whole = together.copy()
    for seen in (read, together, sizes):
        seen.clear()
    monkeypatch.setattr(shards, "replace_arrays", write_then_fail)
    with pytest.raises(KeyboardInterrupt):
        embed_sources(encoder, Sources([video]), tmp_path / "parts.npy", faces="whole", progress=False)
    assert read == list(range(20))
    embed_sources(encoder, Sources([video]), tmp_path / "parts.npy", faces="whole", progress=False)
    assert read == list(range(FRAMES)) and together == whole
    for suffix in (".npy", ".csv"):
        whole_file, parts = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("whole", "parts"))
        assert whole_file == parts
