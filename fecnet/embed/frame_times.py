"""The presentation times of the frames of a video, from its container."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

_ANY_START = 0x200  # FFmpeg's AVFMT_TS_DISCONT: the clock starts at any value and may jump
_DECODING_ORDER = ("avi", "mpegvideo", "m4v", "h264", "hevc")  # containers without presentation times
_JUMP_S = 1.0  # a clock that goes back by more than this was restarted
_RATE = 25  # frames/s where the file has no rate


class FrameTimes:
    """The time of each frame; times never decrease.

    In containers without presentation times, FFmpeg derives them from the decoding order, which differs from the
    presentation order where frames refer to later ones. There the n-th frame shown gets the n-th time.

    Args:
        container: container of PyAV.
        stream: its video stream.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._tick_s = stream.time_base
        self._rate = stream.guessed_rate or _RATE
        self._presented = container.format.name not in _DECODING_ORDER
        self._decoded: deque[int | None] = deque()
        self._shift_s = -_first_s(container) if container.format.flags & _ANY_START else Fraction(0)
        self._step_s = Fraction(1) / self._rate
        self._last_s: Fraction | None = None

    @property
    def last_s(self) -> float:
        """Time of the last frame, seconds."""
        return float(self._last_s or 0)

    def add(self, packet: Any) -> None:
        """Register a packet before it is decoded."""
        if not self._presented and not packet.is_discard:
            self._decoded.append(packet.dts)

    def drop(self) -> None:
        """Register that the decoder returned no frame for a packet."""
        if self._decoded:
            self._decoded.popleft()

    def of(self, frame: Any, number: int) -> float:
        """Time of a frame, seconds; computed from the rate where the file has no time.

        Args:
            frame: the next frame in presentation order.
            number: its number, from 0.
        """
        ticks = frame.pts if self._presented else self._decoded.popleft() if self._decoded else None
        time_s = number / Fraction(self._rate) if ticks is None else ticks * self._tick_s + self._shift_s
        if self._last_s is not None:
            if time_s < self._last_s - _JUMP_S:
                self._shift_s += self._last_s + self._step_s - time_s
                time_s = self._last_s + self._step_s
            time_s = max(time_s, self._last_s)
        self._last_s = time_s
        return float(time_s)


def _first_s(container: Any) -> Fraction:
    """Start time of the stream that begins first, seconds."""
    starts = [
        stream.start_time * stream.time_base
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None
    ]
    return min(starts, default=Fraction(0))
