"""Videos for tests, written by PyAV: their pictures and times are the truth that a reader is held against."""

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'fecnet[video]'")

SIZE = (64, 48)
CODECS = {".avi": "mjpeg", ".mpg": "mpeg2video", ".wmv": "wmv2", ".dv": "dvvideo", ".ts": "libx264"}  # of others mpeg4
OPTIONS = {"libx264": {"preset": "ultrafast", "qp": "4"}}
FORMATS = {".wmv": "asf", ".mpg": "mpeg", ".m2ts": "mpegts"}


def shade(number, size=SIZE):
    """A picture that tells its number."""
    return np.full((size[1], size[0], 3), (6 * number, 5 * number % 200, 2 * number), np.uint8)


def write_video(
    path, images=40, rate=20, *, times=None, codec=None, late=0, sound=None, aspect=None, matrix=None, **how
):
    """A video.

    Args:
        path: its suffix names the format.
        images: RGB, or how many shades.
        rate: frames/s.
        times: of the frames, s; None: by the rate.
        codec: None: one that fits the format.
        late: frames that refer to later ones, between two others.
        sound: its seconds from 0; None: there is none.
        aspect: width of a pixel by its height.
        matrix: a, b, c, d of the display matrix.
        how: options of the format.
    """
    images = [shade(number) for number in range(images)] if isinstance(images, int) else images
    times = [number / rate for number in range(len(images))] if times is None else times
    codec = codec or CODECS.get(path.suffix, "mpeg4")
    tick_s = Fraction(1, rate if codec in ("mjpeg", "mpeg2video", "wmv2") or path.suffix == ".avi" else 3000)
    options = {name: str(value) for name, value in how.items()}
    with av.open(str(path), "w", format=FORMATS.get(path.suffix), options=options) as container:
        stream = container.add_stream(codec, rate=rate, options=OPTIONS.get(codec, {"flags": "+qscale"}))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        stream.codec_context.time_base = tick_s
        stream.gop_size, stream.max_b_frames = 6, late
        if aspect:
            stream.sample_aspect_ratio = aspect
        if matrix:
            a, b, c, d = (65536 * number for number in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if sound:
            _add_sound(container, sound)
        for image_HWC, time_s in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_HWC))
            frame.pts, frame.time_base = round(time_s / tick_s), tick_s
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _add_sound(container, seconds):
    stream = container.add_stream("mp2", rate=32000, layout="mono")
    for number in range(round(seconds * 32000 / 1152)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.time_base = 32000, Fraction(1, 32000)
        frame.pts = 1152 * number + 481  # the encoder begins as much earlier
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def cut_without_encoding(source, path, start_s):
    """What is left of a video behind ``start_s``, and hidden in front of it what the first frame needs."""
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        (stream,) = container.streams.video
        copied = copy.add_stream_from_template(stream)
        start = round(start_s / stream.time_base)
        packets = [packet for packet in container.demux(stream) if packet.size]
        first = max(n for n, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= start)
        for packet in packets[first:]:
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copied
            copy.mux(packet)
    return path
