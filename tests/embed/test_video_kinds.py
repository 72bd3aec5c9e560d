"""Videos of each kind: times, frames and shapes as a player shows them, held against how they were made."""

import os
from fractions import Fraction

import numpy as np
import pytest

from fecnet.embed.video_size import promised_bytes
from fecnet.embed.videos import Video
from tests.videos import cut_without_encoding, shade, write_video

RATE, FRAMES = 25, 30
STEADY = [number / RATE for number in range(FRAMES)]
VARYING = np.cumsum([0, *([0.04, 0.04, 0.2, 0.1, 0.03] * 5)]).tolist()
MADE = {  # kind: file name, times of the frames, what else it is made of
    "plain": ("video.mp4", STEADY, {}),
    "sound longer than the picture": ("video.mkv", STEADY, {"sound": 3}),
    "begins after its sound": ("video.mkv", [0.5 + time_s for time_s in STEADY], {"sound": 2}),
    "MP4 that begins after its sound": ("video.mp4", [0.5 + time_s for time_s in STEADY], {"sound": 2}),
    "transport stream that begins after its sound": ("video.ts", [0.5 + time_s for time_s in STEADY], {"sound": 2}),
    "begins at 5 s": ("video.mkv", [5 + time_s for time_s in STEADY], {}),
    "MP4 that begins at 5 s": ("video.mp4", [5 + time_s for time_s in STEADY], {}),
    "varying rate": ("video.mp4", VARYING, {}),
    "varying rate, Matroska": ("video.mkv", VARYING, {}),
    "varying rate, transport stream": ("video.ts", VARYING, {}),
    "varying rate, frames that refer to later ones": ("video.mp4", VARYING, {"late": 2}),
    "transport stream whose clock starts anywhere": ("video.ts", STEADY, {"sound": 1, "output_ts_offset": 1000}),
    "program stream": ("video.mpg", STEADY, {}),
    "AVI": ("video.avi", STEADY, {}),
    "AVI with frames that refer to later ones": ("video.avi", STEADY, {"codec": "mpeg4", "late": 2}),
    "AVI with sound": ("video.avi", STEADY, {"sound": 2}),
    "fragments": ("video.mp4", STEADY, {"movflags": "frag_keyframe+empty_moov"}),
    "live Matroska, without sizes": ("video.mkv", STEADY, {"live": 1}),
    "WMV": ("video.wmv", STEADY, {}),
    "FLV": ("video.flv", STEADY, {"codec": "flv"}),
}


def number_of(image_HWC):
    """Which shade it is."""
    return round(float(image_HWC[..., 0].mean()) / 6)


@pytest.mark.parametrize("kind", MADE)
def test_frames_and_times_are_those_of_the_file(tmp_path, kind):
    name, times, how = MADE[kind]
    video = Video(write_video(tmp_path / name, len(times), RATE, times=times, **how))
    frames = list(video.frames())
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=0.0006)  # Matroska counts in ms
    assert [number_of(frame.image_HWC) for frame in frames] == list(range(len(times)))
    assert [frame.number for frame in frames] == list(range(len(times)))
    assert video.note == ""
    later = list(Video(tmp_path / name).frames(every=3, first=7))
    wanted = [frame for frame in frames if frame.number in range(9, len(times), 3)]
    assert [frame[:2] for frame in later] == [frame[:2] for frame in wanted]
    assert all(np.array_equal(a.image_HWC, b.image_HWC) for a, b in zip(later, wanted, strict=True))


@pytest.mark.parametrize("late", [0, 2])
def test_what_an_edit_list_hides_is_not_shown(tmp_path, late):
    whole = write_video(tmp_path / "whole.mp4", 30, RATE, late=late)
    video = Video(cut_without_encoding(whole, tmp_path / "cut.mp4", 10 / RATE))
    assert promised_bytes(video.path) == video.path.stat().st_size
    frames = list(video.frames())
    assert [number_of(frame.image_HWC) for frame in frames] == list(range(10, 30))
    assert [frame.time_s for frame in frames] == pytest.approx([number / RATE for number in range(20)])
    assert video.note == "" and video.announced > 20  # hidden ones are counted by the file


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("video.mp4", {"movflags": "faststart"}),
        ("video.mp4", {"movflags": "faststart", "sound": 3}),
        ("video.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("video.mkv", {}),
        ("video.avi", {}),
        ("video.wmv", {}),
        ("video.flv", {"codec": "flv"}),
    ],
)
def test_a_file_that_was_cut_off_is_told(tmp_path, name, how):
    path = write_video(tmp_path / name, [shade(k, (256, 192)) for k in range(40)], RATE, **how)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(0.6 * len(whole))])
    video = Video(path)
    frames = list(video.frames())
    assert [number_of(frame.image_HWC) for frame in frames] == list(range(len(frames)))  # only whole ones
    assert 0 < len(frames) <= 40 and video.read == len(frames)
    assert video.note.startswith(f"{path}: ends early: {len(frames)} frames, up to {frames[-1].time_s:.3f} s; ")


def test_a_damaged_frame_is_passed_over_and_told(tmp_path):
    path = write_video(tmp_path / "video.mkv", 30, RATE, codec="mjpeg")
    content = bytearray(path.read_bytes())
    starts = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xd8"]
    content[starts[10] : starts[10] + 600] = bytes(600)
    path.write_bytes(content)
    video = Video(path)
    frames = list(video.frames())
    assert [number_of(frame.image_HWC) for frame in frames] == [k for k in range(30) if k != 10]
    assert [frame.number for frame in frames] == list(range(29))
    assert frames[10].time_s == pytest.approx(11 / RATE)
    assert video.note == f"{path}: damaged frames passed over: 1"


def test_damage_that_spreads_is_told(tmp_path):
    """Frames between a break and the next key frame are shown as well as they can be."""
    path = write_video(tmp_path / "video.ts", 40, RATE, late=0)
    content = path.read_bytes()
    lost = 188 * (len(content) // 188 // 2)
    path.write_bytes(content[:lost] + content[lost + 3 * 188 :])
    video = Video(path)
    assert 0 < len(list(video.frames())) < 40
    assert video.note == (
        f"{path}: breaks in the stream: 1; frames from there to the next key frame may be wrong or missing"
    )


def test_transport_streams_in_one_another_go_on(tmp_path):
    """As recordings are joined: the clock starts anew."""
    one = write_video(tmp_path / "one.ts", 40, RATE)
    (tmp_path / "two.ts").write_bytes(one.read_bytes() * 2)
    times = [frame.time_s for frame in Video(tmp_path / "two.ts").frames()]
    assert times == pytest.approx([number / RATE for number in range(80)], abs=1e-5)


QUARTERS = np.zeros((48, 64, 3), np.uint8)
QUARTERS[:24, :32], QUARTERS[:24, 32:], QUARTERS[24:, :32], QUARTERS[24:, 32:] = (
    255,
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
)
UPRIGHT = {  # the display matrix a, b, c, d of ISO/IEC 14496-12, and what it makes of a picture
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # clockwise, as most phones
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): np.rot90,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("matrix", UPRIGHT)
def test_videos_that_lie_or_are_mirrored_are_upright(tmp_path, matrix, suffix):
    video = Video(write_video(tmp_path / f"video{suffix}", [QUARTERS] * 2, RATE, matrix=matrix))
    image_HWC = next(video.frames()).image_HWC
    wanted_HWC = UPRIGHT[matrix](QUARTERS)
    assert image_HWC.shape == wanted_HWC.shape and image_HWC.dtype == np.uint8 and image_HWC.flags.c_contiguous
    assert (np.abs(image_HWC.astype(int) - wanted_HWC) > 60).mean() < 0.15  # edges of colours are blurred


@pytest.mark.parametrize(
    ("size", "aspect", "matrix", "shape"),
    [
        ((144, 108), Fraction(4, 3), None, (108, 192)),  # as HDV, 1440×1080
        ((72, 58), Fraction(64, 45), None, (58, 102)),  # as DV of 16:9
        ((72, 48), Fraction(8, 9), None, (54, 72)),  # as DV of 4:3, NTSC: taller than wide
        ((144, 108), Fraction(4, 3), (0, 1, -1, 0), (192, 108)),
        ((144, 108), Fraction(1), None, (108, 144)),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_pixels_become_square(tmp_path, suffix, size, aspect, matrix, shape):
    if matrix and suffix == ".ts":
        return  # holds none
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, size[0] // 4 : size[0] // 2] = 255  # a quarter of the width, whatever that is
    video = Video(write_video(tmp_path / f"video{suffix}", [image] * 9, RATE, aspect=aspect, matrix=matrix))
    image_HWC = next(video.frames()).image_HWC
    assert image_HWC.shape == (*shape, 3)
    upright = np.rot90(image_HWC) if matrix else image_HWC
    assert (upright[..., 0] > 128).mean() == pytest.approx(0.25, abs=0.01)


def test_dv_of_a_camcorder(tmp_path):
    image = np.zeros((576, 720, 3), np.uint8)
    image[:, 180:360] = 255
    path = write_video(tmp_path / "video.dv", [image] * 2, RATE, aspect=Fraction(64, 45))
    frame = next(Video(path).frames())
    assert frame.image_HWC.shape == (576, 1024, 3) and (frame.image_HWC[..., 0] > 128).mean() == pytest.approx(
        0.25, abs=0.01
    )


@pytest.mark.parametrize("name", [b"12:30.mp4", b"pipe:0.mp4", b"\xff.mp4", b"-i %03d?#.mp4"])
def test_any_file_name_is_a_file(tmp_path, monkeypatch, name):
    """And no protocol of FFmpeg's."""
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "video.mp4", 3, RATE).rename(os.fsdecode(name))
    assert len(list(Video(os.fsdecode(name)).frames())) == 3


def test_a_file_without_a_moving_picture_is_one_line(tmp_path):
    import av

    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("mp2", rate=32000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
        frame.sample_rate = 32000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"sound\.mp4: no moving picture in it"):
        Video(tmp_path / "sound.mp4")
