"""Videos: frames with their times, read one at a time, also where the file ends early or the work was killed."""

import csv
import subprocess
import sys
import weakref

import numpy as np
import pytest

import fecnet
from fecnet.cli.main import main
from fecnet.embed import shards
from fecnet.embed.embedding import embed_sources
from fecnet.embed.sources import Sources
from fecnet.embed.videos import Video
from fecnet.encoder import face_maker
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.face_maker import FaceMaker
from tests.conftest import ROOT, write_tiny
from tests.nets import train_on

cv2 = pytest.importorskip("cv2")
FRAMES, RATE = 40, 20.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    return train_on(write_tiny(folder / "tiny"), folder)


@pytest.fixture
def film(tmp_path):
    """A film of 40 frames, each of them of another brightness."""
    return write_film(tmp_path / "film.avi")


def write_film(path, frames=FRAMES):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), (2 * number, 5 * number % 200, 6 * number), np.uint8))
    writer.release()
    return path


def test_every_nth_frame_with_its_time(film):
    frames = list(Video(film).frames(every=5))
    assert [frame.number for frame in frames] == list(range(0, FRAMES, 5))
    assert [frame.time_s for frame in frames] == pytest.approx([number / RATE for number in range(0, FRAMES, 5)])
    for number, _, image_HWC in frames:
        assert image_HWC.shape == (48, 64, 3) and image_HWC.dtype == np.uint8
        wanted = (6 * number, 5 * number % 200, 2 * number)  # red first
        assert np.abs(image_HWC.mean((0, 1)) - wanted).max() < 6
    later = list(Video(film).frames(every=5, first=20))
    assert [frame.number for frame in later] == [20, 25, 30, 35]
    assert np.array_equal(later[0].image_HWC, frames[4].image_HWC)


def test_a_video_in_the_table(run, film, tmp_path):
    arguments = [str(film), "--every", "4", "--output", str(tmp_path / "out.csv"), "--format", "csv"]
    assert main(["embed", str(run), *arguments, "--device", "cpu"]) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(0, FRAMES, 4))
    assert [float(row["time_s"]) for row in rows] == [number / RATE for number in range(0, FRAMES, 4)]
    expected = fecnet.load(run, device="cpu").embed([frame.image_HWC for frame in Video(film).frames(4)])
    found = np.array([[float(row[f"v{place}"]) for place in range(16)] for row in rows], np.float32)
    assert np.abs(found - expected).max() <= 1e-5


def test_a_video_that_ends_early_is_told_and_its_frames_are_there(run, film, tmp_path, capsys):
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    out = tmp_path / "out.npy"
    assert main(["embed", str(run), str(film), "--output", str(out), "--device", "cpu"]) == 0
    num = len(np.load(out))
    assert 0 < num < FRAMES
    assert f"film.avi: ends early: {num} frames of {FRAMES} announced" in capsys.readouterr().out


def test_what_is_no_video_is_one_line(run, tmp_path, capsys):
    (tmp_path / "film.mp4").write_bytes(b"\0" * 500)
    assert main(["embed", str(run), str(tmp_path / "film.mp4"), "--output", str(tmp_path / "out.npy")]) == 2
    assert "film.mp4: not a video that OpenCV" in capsys.readouterr().err.splitlines()[-1]
    # in a process of its own: FFmpeg reads what it may say when it is used first
    code = "import sys; from fecnet.embed.videos import Video; Video(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "film.mp4")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.startswith("Traceback") and "UserError" in done.stderr.splitlines()[-1]  # no line of FFmpeg's
    with pytest.raises(ValueError, match="gone: no such file"):
        Video(tmp_path / "gone")


class Alive:
    """Counts pictures that somebody still holds."""

    def __init__(self):
        self.references, self.most = [], 0

    def see(self, image_HWC):
        self.references = [one for one in self.references if one() is not None] + [weakref.ref(image_HWC)]
        self.most = max(self.most, len(self.references))
        return image_HWC


def test_a_video_is_held_a_few_frames_at_a_time(run, film, monkeypatch):
    read, copied = Alive(), Alive()
    frames, as_rgb = Video.frames, face_maker.as_rgb

    def watched(self, every=1, first=0):
        for frame in frames(self, every, first):
            read.see(frame.image_HWC)
            yield frame

    monkeypatch.setattr(Video, "frames", watched)
    monkeypatch.setattr(face_maker, "as_rgb", lambda item, **how: copied.see(as_rgb(item, **how)))
    (piece,) = Sources([film]).pieces()
    (rows,) = shards.embedded(fecnet.load(run, device="cpu", batch_size=4), piece.frames(0), "embedding", align=False)
    assert len(rows.status) == FRAMES
    assert read.most <= 3 and copied.most <= 8 + 1  # what the detector would see at once, and the next


@pytest.mark.parametrize("batch_size", [3, 4])
def test_a_video_goes_on_where_it_was_killed(run, film, tmp_path, monkeypatch, batch_size):
    """Pictures go to detector and net together as they would have, also where a batch does not divide a shard."""
    monkeypatch.setattr(shards, "PIECE", 10)
    encoder = fecnet.load(run, device="cpu", batch_size=batch_size)
    frames, forward, replace = Video.frames, Encoder._forward, shards.replace_arrays
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

    def as_they_are(self, images, *more):
        together.append(len(images))
        return made(self, images, *more)

    made = FaceMaker._crop
    monkeypatch.setattr(FaceMaker, "_crop", as_they_are)
    monkeypatch.setattr(Encoder, "_forward", lambda self, faces: together.append(-len(faces)) or forward(self, faces))
    monkeypatch.setattr(Video, "frames", watched)
    monkeypatch.setattr(shards, "replace_arrays", write)
    encoder.dims("embedding")  # a forward pass
    together.clear()
    embed_sources(encoder, Sources([film]), tmp_path / "whole.npy", progress=False)
    assert sizes == [10] * 4
    whole = together.copy()
    for seen in (read, together, sizes):
        seen.clear()
    monkeypatch.setattr(shards, "replace_arrays", write_then_fail)
    with pytest.raises(KeyboardInterrupt):
        embed_sources(encoder, Sources([film]), tmp_path / "parts.npy", progress=False)
    assert read == list(range(20))
    embed_sources(encoder, Sources([film]), tmp_path / "parts.npy", progress=False)
    assert read == list(range(FRAMES)) and together == whole
    for suffix in (".npy", ".csv"):
        whole_file, parts = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("whole", "parts"))
        assert whole_file == parts
