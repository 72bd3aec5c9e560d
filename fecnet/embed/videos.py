"""Frames of a video file as a player shows them, one at a time, by PyAV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fecnet.embed.frame_pixels import upright_rgb
from fecnet.embed.frame_times import FrameTimes
from fecnet.embed.video_size import promised_bytes
from fecnet.utils.errors import UserError

INSTALL = "pip install 'fecnet[video]'"
_FINEST_RATE = 240  # frames/s; maximum rate of a grid of frame times


class VideoFrame(NamedTuple):
    """One frame, upright with square pixels, with its number and time."""

    number: int  # from 0
    time_s: float  # presentation time in a video; seconds since the start of a camera
    image_HWC: np.ndarray  # uint8, RGB, shape (H, W, 3)


class Video:
    """A video file, read once from its beginning.

    Frames and times are those of a player: frames hidden by an edit list are left out, and rotation and pixel aspect
    ratio are applied. Time 0 is that of the container: a video track that begins half a second after the audio starts
    at 0.5. In transport and program streams, whose clock may start anywhere, time 0 is the start of the first track.

    Args:
        path: the file.

    Attributes:
        name: the path as it was given.
        announced: approximate number of frames, for a progress bar; 0 = unknown.
        rate: frames per second; where it varies, the rate of the common grid of the times; 0 = unknown.
        read: number of frames read so far.

    Raises:
        UserError: PyAV is missing or cannot open the file, or the file has no video track.
        OSError: the file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.name = Path(path), str(path)
        self._container, self._stream = _opened(self.path)
        self._times = FrameTimes(self._container, self._stream)
        self.rate = min(float(self._stream.base_rate or self._stream.guessed_rate or 0), _FINEST_RATE)
        self.announced = self._stream.frames or _by_duration(self._container, self._stream)
        self.read = self._damaged = self._breaks = 0
        self._linked = False  # frames are predicted from others, so that damage spreads
        self._cut = ""  # why the file is known to be truncated; empty if it is not

    @property
    def note(self) -> str:
        """A message if the file was cut off or frames of it do not decode; else empty."""
        told = []
        if self._cut:
            told.append(f"ends early: {self.read} frames, up to {self._times.last_s:.3f} s; {self._cut}")
        if self._damaged:
            told.append(f"damaged frames passed over: {self._damaged}")
        if self._breaks:
            told.append(f"breaks in the stream: {self._breaks}")
        if self._linked and (self._damaged or self._breaks):
            told.append("frames from there to the next key frame may be wrong or missing")
        return f"{self.path}: {'; '.join(told)}" if told else ""

    def frames(self, every: int = 1, first: int = 0) -> Generator[VideoFrame, None, None]:
        """Every ``every``-th frame from frame 0 to the end, or to the last readable one.

        Args:
            every: 1 or more.
            first: frames before this number are skipped, which is faster than reading them.
        """
        try:
            for frame in self._decoded():
                number, self.read = self.read, self.read + 1
                time_s = self._times.of(frame, number)
                if number >= first and number % every == 0:
                    yield VideoFrame(number, time_s, upright_rgb(frame, self._stream.sample_aspect_ratio))
        finally:
            self._container.close()

    def _decoded(self) -> Iterator[Any]:
        """The whole frames, in the order in which they are shown."""
        for packet in self._packets():
            if packet is not None:
                self._linked |= not packet.is_keyframe
                self._breaks += packet.is_corrupt
            try:
                frames = self._stream.decode(packet)
            except pyav().FFmpegError:
                self._damaged += 1
                self._times.drop()
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._damaged += 1
                    self._times.drop()
                else:
                    yield frame

    def _packets(self) -> Iterator[Any]:
        """The packets of the video track, then None, which flushes the decoder."""
        held = None  # the last packet may be incomplete, so each is held back until another one follows
        try:
            for packet in self._container.demux():  # of audio too: its end shows whether the file is complete
                if packet.size:
                    if held is not None and held.stream_index == self._stream.index:
                        self._times.add(held)
                        yield held
                    held = packet
        except pyav().FFmpegError as error:
            self._cut = f"it cannot be read further: {error.strerror}"
        there, promised = self.path.stat().st_size, promised_bytes(self.path)
        if there < promised:
            self._cut = f"{there:,} of {promised:,} bytes are there"
        elif held is not None and held.is_corrupt:
            self._cut = "its last packet is incomplete"
        if held is not None and held.stream_index == self._stream.index and not held.is_corrupt:
            self._times.add(held)
            yield held
        yield None


def can_read() -> bool:
    """Whether PyAV, which reads videos, is installed."""
    try:
        pyav()
    except UserError:
        return False
    return True


def pyav() -> Any:
    """PyAV, with its own log messages turned off.

    Raises:
        UserError: it is missing.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(f"videos need PyAV; install it with: {INSTALL}") from error
    return av


def _opened(path: Path) -> tuple[Any, Any]:
    """The container and its main video track; cover pictures are ignored."""
    if not path.is_file():
        raise UserError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    av = pyav()
    path.open("rb").close()
    try:
        # a video file must not open URLs; a title that is not UTF-8 is no reason to refuse it
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            raise UserError(f"{path}: no moving picture in it")
        stream.thread_count = 1  # with more threads, the result for a damaged frame depends on their number
    except av.FFmpegError as error:
        raise UserError(f"{path}: not a video that PyAV {av.__version__} reads; it may be cut off or empty") from error
    return container, stream


def _by_duration(container: Any, stream: Any) -> int:
    """Number of frames from duration and mean rate; 0 = unknown."""
    rate = stream.average_rate or stream.guessed_rate
    return round(container.duration / 1e6 * rate) if container.duration and rate else 0
