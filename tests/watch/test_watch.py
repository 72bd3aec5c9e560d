"""``fecnet watch``: pictures, videos and cameras to windows, videos and tables, and what is told of bad ones."""

import csv
import os
import resource
import signal
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.embed.videos import Video
from fecnet.watch import output as watch_output
from fecnet.watch.camera import Camera
from fecnet.watch.faces import FaceWatcher
from fecnet.watch.output import Table, why_no_window
from fecnet.watch.sources import open_source
from fecnet.watch.video_file import VideoFile
from fecnet.watch.watch import Views, open_views, watch
from tests.faces.test_extract import photo
from tests.videos import write_video

cv2 = pytest.importorskip("cv2")
RATE = 10
BLUE = np.array([0, 0, 90], np.uint8)


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def run(aligned, monkeypatch):
    """A net trained on bright squares; the current folder is that of the pictures."""
    monkeypatch.chdir(aligned[2][0].parent)
    return aligned[0]


@pytest.fixture
def video(tmp_path):
    """Two faces in the even frames of ten, before something blue; in the others nothing else."""
    images = [photo((20 + 2 * k, 40), (200, 100 - k)) if k % 2 == 0 else photo() for k in range(10)]
    return write_video(tmp_path / "video.avi", [np.maximum(image_HWC, BLUE) for image_HWC in images], RATE)


def is_blue(image_HWC):
    """What lies between the faces; it tells the order of the channels."""
    return np.abs(image_HWC[100:150, 120:180].mean((0, 1)) - BLUE).max() < 12


def command(run, *arguments):
    return main(["watch", str(run), *map(str, arguments), "--device", "cpu"])


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lime(image_HWC):
    """Where boxes are; videos are lossy."""
    return (image_HWC[..., 1] > 180) & (image_HWC[..., 0] < 90) & (image_HWC[..., 2] < 90)


def left_over(folder):
    return [path.name for path in folder.iterdir() if "partial" in path.name]


def test_a_picture_beside_the_source(run, capsys):
    assert command(run, "0.png", "--table", "faces.csv") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "no window: there is no display; writing to 0.watched.png"
    assert told[1].startswith("0.png: 1 frame, 1 with faces, 2 faces in all, ")
    assert told[1].endswith(" frames/s; written: 0.watched.png, faces.csv") and len(told) == 2
    drawn, before = np.asarray(Image.open("0.watched.png")), np.asarray(Image.open("0.png"))
    assert drawn.shape == before.shape and lime(drawn)[80, 100:160].all() and lime(drawn)[10, 10:40].all()
    rows = rows_of(Path("faces.csv"))
    assert [(row["x1"], row["y2"], row["status"]) for row in rows] == [("10.0", "40.0", "ok"), ("100.0", "140.0", "ok")]
    assert not any(row["expression"] or row["to_reference"] for row in rows)


def test_a_video_frame_by_frame(run, video, tmp_path, capsys):
    assert command(run, video, "--table", tmp_path / "video.csv", "--reference", "1.png") == 0
    told = capsys.readouterr()
    assert f"{video}: 10 frames, 5 with faces, 10 faces in all, " in told.out and "frame/s" in told.err
    frames = list(Video(tmp_path / "video.watched.mp4").frames())
    assert len(frames) == 10
    for number, time_s, image_HWC in frames:
        assert time_s == pytest.approx(number / RATE)
        marked = lime(image_HWC)
        assert marked[:180].any() == (number % 2 == 0) and is_blue(image_HWC)
        assert (image_HWC[185:, :60] > 150).any()  # frames/s
    rows = rows_of(tmp_path / "video.csv")
    assert [int(row["frame"]) for row in rows] == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]
    assert float(rows[-1]["time_s"]) == pytest.approx(0.8)
    assert all(0 <= float(row["to_reference"]) <= 4 and row["change"] == "" for row in rows)
    assert not left_over(tmp_path)


def times_of(path):
    return [frame.time_s for frame in Video(path).frames()]


def test_every_nth_frame_lasts_as_long(run, video, tmp_path, capsys):
    assert command(run, video, "--every", 2, "--output", tmp_path / "new" / "out.avi", "--no-window") == 0
    told = capsys.readouterr().out
    assert "no window" not in told and "5 frames, 5 with faces, 10 faces in all" in told
    assert times_of(tmp_path / "new" / "out.avi") == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert Video(tmp_path / "new" / "out.avi").rate == RATE


@pytest.mark.parametrize(("source", "copy"), [(".mp4", ".mp4"), (".ts", ".mp4"), (".mkv", ".avi")])
def test_a_video_of_varying_rate_keeps_its_times(run, tmp_path, source, copy):
    """From 5 s on, where the source begins so late."""
    start_s = 0 if source == ".ts" else 5  # whose clock starts anywhere
    times = [start_s + time_s for time_s in (0, 0.1, 0.2, 0.7, 0.8, 1.4, 1.5)]
    video = write_video(tmp_path / f"video{source}", [photo()[:64, :64]] * len(times), RATE, times=times)
    out = tmp_path / f"out{copy}"
    assert command(run, video, "--faces", "whole", "--output", out, "--table", tmp_path / "table.csv") == 0
    assert [float(row["time_s"]) for row in rows_of(tmp_path / "table.csv")] == pytest.approx(times)
    assert times_of(out)[1:] == pytest.approx(times[1:]) and times_of(out)[0] == (start_s if copy == ".mp4" else 0)


def test_what_comes_faster_than_an_avi_holds_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    video = VideoFile(tmp_path / "out.avi", RATE)
    for time_s in (0, 0.02, 0.04, 0.1, 0.2):
        video.add(photo(), time_s)
    video.close()
    assert times_of(tmp_path / "out.avi") == pytest.approx([0, 0.1, 0.2])
    assert "out.avi: 2 frames left out, which come faster than 10 frames/s; .mp4 holds them" in caplog.text


def test_memory_does_not_grow_with_the_video(run, video):
    source, alive = open_source(str(video)), []
    frames = source.frames

    def watched(every=1):
        for frame in frames(every):
            alive.append(weakref.ref(frame.image_HWC))
            assert sum(ref() is not None for ref in alive) <= 2
            yield frame

    source.frames = watched
    watch(FaceWatcher(fecnet.load(run)), source, Views())
    assert len(alive) == 10


def test_a_video_that_ends_early(run, tmp_path, capsys):
    video = write_video(tmp_path / "cut.avi", [photo((20, 30))] * 40, RATE)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert command(run, video) == 0
    num = Video(tmp_path / "cut.watched.mp4").announced
    told = capsys.readouterr().out
    assert 0 < num < 40 and f"cut.avi: ends early: {num} frames, up to " in told
    assert f"cut.avi: {num} frames, {num} with faces" in told


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143), OSError("gone")])
def test_what_was_seen_before_an_early_end_is_kept_and_told(run, video, tmp_path, monkeypatch, capsys, stop):
    look, close, calls = FaceWatcher.process, VideoFile.close, []

    def look_then_stop(self, image_HWC):
        calls.append(0)
        if len(calls) == 7:
            raise stop
        return look(self, image_HWC)

    def impatient(self):
        os.kill(os.getpid(), signal.SIGINT)  # pressed again while the file is being finished
        close(self)

    monkeypatch.setattr(FaceWatcher, "process", look_then_stop)
    monkeypatch.setattr(VideoFile, "close", impatient)
    if isinstance(stop, SystemExit):
        with pytest.raises(SystemExit, match="143"):
            command(run, video, "--table", tmp_path / "video.csv")
    else:
        assert command(run, video, "--table", tmp_path / "video.csv") == (
            130 if isinstance(stop, KeyboardInterrupt) else 2
        )
    assert f"{video}: 6 frames, 3 with faces" in capsys.readouterr().out
    assert Video(tmp_path / "video.watched.mp4").announced == 6
    assert len(rows_of(tmp_path / "video.csv")) == 6 and not left_over(tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_full_disk_is_told(run, video, tmp_path, capsys, suffix):
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        assert command(run, video, "--output", tmp_path / f"out{suffix}") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "File too large" in error and f"{tmp_path}/out{suffix}" in error
    assert not list(tmp_path.glob(f"out{suffix}")) and not list(tmp_path.glob("*.mp4")) and not left_over(tmp_path)


def test_pictures_that_are_hard_to_see(run, capsys):
    """No face, one pixel, an animation: each gives its annotated picture."""
    Image.fromarray(photo()).save("empty.png")
    Image.fromarray(photo()[:1, :1]).save("pixel.png")
    moving = [Image.fromarray(photo((x, 20))) for x in (20, 40, 60)]
    moving[0].save("moving.gif", save_all=True, append_images=moving[1:], duration=50)
    for name, faces in (("empty.png", 0), ("pixel.png", 0), ("moving.gif", 1)):
        assert command(run, name, "--no-window") == 0
        told = capsys.readouterr().out.splitlines()
        assert f"{faces} with faces, {faces} faces in all" in told[-1]
        assert ("moving.gif: the first of the 3 pictures in it" in told) == (name == "moving.gif")
        shown = Image.open(name).convert("RGB")
        assert Image.open(f"{name[:-4]}.watched.png").size == shown.size
    assert np.array_equal(np.asarray(Image.open("empty.watched.png")), photo())


def test_mistakes_are_one_line_and_exit_code_2(run, video, tmp_path, capsys):
    whole = Path("0.png").read_bytes()
    Path("half.png").write_bytes(whole[: len(whole) // 2])
    Path("text.jpg").write_text("no picture")
    Path("video.mp4").write_bytes(b"\0" * 500)
    Path("there.png").write_bytes(b"mine")
    wide = write_video(tmp_path / "wide.avi", [np.zeros((16, 8200, 3), np.uint8)] * 3, RATE)
    mistakes = {
        ("half.png",): "half.png: truncated: ",
        ("text.jpg",): "text.jpg: not_an_image: not an image in a known format",
        ("video.mp4",): "video.mp4: not a video that PyAV",
        ("gone.jpg",): "gone.jpg: no such file; allowed: a picture, a video or the number of a camera, such as 0",
        ("gone.mp4",): "gone.mp4: no such file",
        ("97",): "camera 97: not there, or another program has it",
        ("200",): "camera 200: allowed: 0 to 99",
        ("0.png", "--every", "0"): "every: 0; allowed: 1 or more",
        ("0.png", "--output", "there.png"): "there.png: exists already; use --overwrite to replace it",
        ("0.png", "--output", "0.png", "--overwrite"): "0.png: would be written over and is the source too",
        ("0.png", "--output", "out.mp4"): "out.mp4: '.mp4' names no file to write here; allowed: .png, .jpg, .jpeg",
        (video, "--output", "out.png"): "out.png: '.png' names no file to write here; allowed: .mp4, .avi",
        (video, "--table", "out.txt"): "out.txt: '.txt' names no file to write here; allowed: .csv",
        ("0.png", "--reference", "gone.png"): "gone.png",
        (wide, "--output", "out.mp4", "--faces", "whole"): (
            "out.mp4: a frame of 8200×16 pixels at 0.0 s cannot be written there; .avi may do"
        ),
    }
    before = set(tmp_path.rglob("*"))
    for arguments, said in mistakes.items():
        assert command(run, *arguments) == 2, arguments
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and said in error, (arguments, error)
    assert set(tmp_path.rglob("*")) == before and Path("there.png").read_bytes() == b"mine"


def test_a_camera_that_is_not_there_is_one_line_and_nothing_of_opencvs(run, capfd):
    assert command(run, "98") == 2
    told = capfd.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1 and "camera 98: not there" in told.err


class FakeCamera:
    """Gives a moving face and is unplugged after some frames."""

    def __init__(self, frames):
        self.frames, self.number = frames, 0

    def isOpened(self):
        return True

    def get(self, _):
        return RATE

    def set(self, *_):
        return True

    def grab(self):
        self.number += 1
        return self.number <= self.frames

    def retrieve(self):
        return True, photo((10 * self.number, 30))

    def release(self):
        self.frames = 0


@pytest.mark.parametrize("step_s", [0.1, 0.3, 0.02])
def test_a_camera_is_kept_at_the_pace_it_was_seen(run, tmp_path, monkeypatch, capsys, step_s):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCamera(4))
    monkeypatch.setattr(Camera, "_time", lambda self, number: number * step_s)
    assert command(run, "3") == 0
    told = capsys.readouterr().out
    assert "no window: there is no display; writing to camera-3.watched.mp4" in told
    assert "camera 3: gives no more pictures" in told and "camera 3: 4 frames, 4 with faces, 4 faces in all" in told
    assert times_of("camera-3.watched.mp4") == pytest.approx([0, step_s, 2 * step_s, 3 * step_s])
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: FakeCamera(0))
    assert command(run, "3", "--overwrite") == 2
    assert "error: camera 3: no frame can be read from it" in capsys.readouterr().err


def test_frames_of_another_size_are_not_lost(tmp_path):
    video = VideoFile(tmp_path / "out.avi", RATE)
    for number, side in enumerate((60, 40, 61)):
        video.add(np.full((side, 2 * side, 3), 200, np.uint8), number / RATE)
    video.close()
    frames = list(Video(tmp_path / "out.avi").frames())
    assert [frame.image_HWC.shape for frame in frames] == [(60, 120, 3)] * 3
    assert all(frame.image_HWC.mean() > 190 for frame in frames)


@pytest.mark.parametrize("rate", [0.0, float("nan"), 1e5, -1.0])
def test_a_rate_that_no_video_has_is_not_believed(tmp_path, rate):
    video = VideoFile(tmp_path / "out.avi", rate)
    video.add(photo(), 0.0)
    video.close()
    assert Video(tmp_path / "out.avi").rate == 25


def test_nothing_is_written_without_a_frame(tmp_path):
    for view in (VideoFile(tmp_path / "out.mp4", RATE), Table(tmp_path / "out.csv")):
        view.close()
    assert not list(tmp_path.iterdir())


class FakeOpenCV:
    """Windows that keep what they show; the keys are pressed one a call."""

    WINDOW_NORMAL = WINDOW_KEEPRATIO = WINDOW_GUI_NORMAL = WND_PROP_VISIBLE = 0

    def __init__(self, *keys):
        self.keys, self.shown, self.open = list(keys), [], 0

    def namedWindow(self, title, flags):
        self.open += 1

    def resizeWindow(self, title, width, height):
        self.size = (width, height)

    def imshow(self, title, image_HWC):
        self.shown.append(image_HWC)

    def waitKey(self, wait_ms):
        assert 1 <= wait_ms <= 1000
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, title, what):
        return self.open

    def destroyAllWindows(self):
        self.open -= 1


@pytest.mark.parametrize(
    ("keys", "shown"), [((), 10), ((-1, ord("x"), ord("q")), 3), ((27,), 1), ((1 << 20 | ord("Q"),), 1)]
)
def test_a_window_where_there_is_a_display(run, video, tmp_path, monkeypatch, capsys, keys, shown):
    fake = FakeOpenCV(*keys)
    monkeypatch.setattr(watch_output, "cv2", lambda: fake)
    monkeypatch.setattr("fecnet.watch.watch.why_no_window", lambda: "")
    assert command(run, video) == 0
    assert len(fake.shown) == shown and fake.open == 0 and fake.size == (300, 200)
    assert f"{video}: {shown} frame" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*.*") if "watched" in path.name] == []
    assert lime(fake.shown[0]).any() and is_blue(fake.shown[0][..., ::-1])  # OpenCV shows red last
    assert command(run, video, "--output", tmp_path / "kept.mp4") == 0  # both


def test_a_picture_stays_in_its_window_until_a_key_is_pressed(run, monkeypatch):
    fake = FakeOpenCV(-1, -1, -1, ord("a"))
    monkeypatch.setattr(watch_output, "cv2", lambda: fake)
    monkeypatch.setattr("fecnet.watch.watch.why_no_window", lambda: "")
    assert command(run, "0.png") == 0
    assert not fake.keys and len(fake.shown) == 1 and not Path("0.watched.png").exists()


def test_a_display_that_does_not_answer_is_no_display(monkeypatch):
    """The headless OpenCV raises there; the other one ends the process, which must not be ours."""
    assert why_no_window() == "there is no display"
    monkeypatch.setenv("DISPLAY", ":4711")
    assert why_no_window().startswith("OpenCV opens none here: ")


def test_the_window_is_not_tried_where_none_is_wanted(run, video, monkeypatch):
    monkeypatch.setattr("fecnet.watch.watch.why_no_window", lambda: pytest.fail("tried"))
    views = open_views(open_source(str(video)), window=False)
    assert [path.name for path in views.files] == ["video.watched.mp4"]
