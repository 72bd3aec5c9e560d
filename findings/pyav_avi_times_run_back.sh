#!/usr/bin/env bash
# PyAV 18.1.0 (with its FFmpeg 8) reading AVI, seen on 2026-11-30.
#
# One would guess: the pts of decoded frames rise, in every container, and equal the times at which the frames were put
#   into the video.
# What happens: of H.264 with B-frames in an AVI the frames come in the right order with pts that run back (1, 3, 4, 2,
#   …), and of MPEG-4 with B-frames every one is a frame late. The same packets in MP4 have the right times. AVI holds no
#   presentation times; FFmpeg derives them from the order of decoding.
# Why it matters here: the times of frames stand in tables beside speech. The n-th frame shown has the n-th time at which
#   a packet is decoded.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$dir/bin/python" -I - "$dir" <<'PYTHON'
import sys
from fractions import Fraction

import av
import numpy as np

RATE = 25


def pts_of(path, codec, options):
    """Of the decoded frames, in frames, and the numbers that their brightness tells."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.max_b_frames = 64, 48, "yuv420p", 2
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    numbers = [round(frame.to_ndarray(format="gray").mean() / 10) for frame in frames]
    return [round(frame.pts * frame.time_base * RATE) for frame in frames], numbers


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


print(f"PyAV {av.__version__}")
truth = list(range(20))
H264 = ("libx264", {"preset": "ultrafast", "qp": "4"})
for name, (codec, options) in {"film.mp4": H264, "film.avi": H264, "mpeg4.avi": ("mpeg4", {})}.items():
    pts, numbers = pts_of(f"{sys.argv[1]}/{name}", codec, options)
    print(f"{codec} in {name}: pts {pts}, frames {'in' if numbers == sorted(numbers) else 'out of'} order")
    check("the order of frames", numbers == sorted(numbers))
    if name == "film.mp4":
        check("MP4", pts == truth)
    elif codec == "mpeg4":
        check("MPEG-4 in AVI", pts == [number + 1 for number in truth])
    else:
        check("H.264 in AVI", pts != sorted(pts))
PYTHON
