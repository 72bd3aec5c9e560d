"""Writes annotated frames as a video that keeps their times, by PyAV."""

from __future__ import annotations

import contextlib
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fecnet.embed.videos import pyav
from fecnet.utils.errors import UserError
from fecnet.utils.files import own_partial

logger = logging.getLogger(__name__)

VIDEO_CODECS = {".mp4": ("mpeg4", "yuv420p"), ".avi": ("mjpeg", "yuvj420p")}  # available in every build of FFmpeg
_TICKS = 60_000  # clock ticks per second of .mp4: close to the maximum of MPEG-4, and divisible by the usual rates
_RATE = 25.0  # frames/s of an AVI whose source has no valid rate
_RATES = (0.01, 240.0)  # valid rates


class VideoFile:
    """An annotated video without sound, in which each frame keeps its time.

    AVI has a constant rate: a frame gets the nearest slot, is left out (and counted) if that is taken, and the first
    frame is shown from time 0 on.

    Args:
        path: ``.mp4`` or ``.avi``; replaced. Written under a temporary name and renamed on closing.
        rate: frames per second of an AVI; an implausible one is replaced by a default.

    Raises:
        UserError: PyAV is missing.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self._held = contextlib.ExitStack()
        self._kind = path.suffix.lower()
        valid = rate if _RATES[0] <= rate <= _RATES[1] else _RATE
        self._rate = Fraction(valid).limit_denominator(1001) if self._kind == ".avi" else Fraction(_TICKS)
        self._av = pyav()
        self._container: Any = None
        self._stream: Any = None
        self._place = -1  # time of the last frame written, ticks
        self._left_out = 0

    def add(self, image_HWC: np.ndarray, time_s: float) -> None:
        """Write one frame.

        Args:
            image_HWC: uint8, RGB, shape (H, W, 3); resized to the size of the first frame.
            time_s: presentation time, seconds; not before that of the previous frame.

        Raises:
            UserError: the format cannot store such a frame.
            OSError: the disk is full or read-only.
        """
        place = 0 if self._place < 0 and self._kind == ".avi" else round(time_s * self._rate)
        if place <= self._place:
            self._left_out += 1
            return
        try:
            if self._container is None:
                self._open(*image_HWC.shape[1::-1])
            size = (self._stream.width, self._stream.height)
            if image_HWC.shape[1::-1] != size:
                image_HWC = np.asarray(Image.fromarray(image_HWC).resize(size))
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image_HWC))
            frame.pts, frame.time_base = place, 1 / self._rate
            self._container.mux(self._stream.encode(frame))
        except self._av.FFmpegError as error:
            height, width = image_HWC.shape[:2]
            raise self._named(error, f"a frame of {width}×{height} pixels at {time_s:.1f} s") from error
        self._place = place

    def close(self) -> None:
        """Finish the video and rename it; without a frame there is no file.

        Raises:
            OSError: not all of it could be written.
        """
        if self._container is None:
            return
        try:
            if self._place >= 0:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._place >= 0:
                self._partial.replace(self.path)
        except (self._av.FFmpegError, OSError) as error:
            raise self._named(error, "its end") from error
        finally:
            self._container = None
            self._partial.unlink(missing_ok=True)
            self._held.close()
        if self._left_out:
            said = f"{self._left_out:,} frames left out, which come faster than {float(self._rate):g} frames/s"
            logger.info(f"{self.path}: {said}; .mp4 holds them")

    def _open(self, width: int, height: int) -> None:
        codec, pixels = VIDEO_CODECS[self._kind]
        self._partial = self._held.enter_context(own_partial(self.path))
        self._container = self._av.open(f"file:{self._partial}", "w", format=self._kind[1:])
        self._stream = self._container.add_stream(codec, rate=self._rate, options={"flags": "+qscale"})  # best quality
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, pixels
        self._stream.codec_context.time_base = 1 / self._rate

    def _named(self, error: Exception, what: str) -> Exception:
        """The error to raise: an error of the disk, or one about what the format cannot store."""
        if isinstance(error, OSError):
            return OSError(error.errno, error.strerror, str(self.path))
        other = next(kind for kind in VIDEO_CODECS if kind != self._kind)
        return UserError(f"{self.path}: {what} cannot be written there; {other} may do")
