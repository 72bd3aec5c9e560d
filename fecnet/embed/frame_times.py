"""When the frames of a video are shown, by what its container says."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

_ANY_START = 0x200  # FFmpeg's AVFMT_TS_DISCONT: the clock starts anywhere and may jump
_DECODING_ORDER = ("avi", "mpegvideo", "m4v", "h264", "hevc")  # containers that hold no presentation times
_JUMP_S = 1.0  # a clock that runs back by more was started anew
_RATE = 25  # frames/s where nothing is said


class FrameTimes:
    """The time of each frame; it never runs back.

    In containers without presentation times, FFmpeg makes them from the order of decoding, which frames that refer to
    later ones change: there the n-th frame shown gets the n-th time.

    Args:
        container: of PyAV.
        stream: the picture.
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
        """A packet that the decoder is about to get."""
        if not self._presented and not packet.is_discard:
            self._decoded.append(packet.dts)

    def drop(self) -> None:
        """A packet of which the decoder makes nothing."""
        if self._decoded:
            self._decoded.popleft()

    def of(self, frame: Any, number: int) -> float:
        """Seconds; where the file does not say, as the rate has it.

        Args:
            frame: the next one shown.
            number: of it, from 0.
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
    """When what comes first begins."""
    starts = [
        stream.start_time * stream.time_base
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None
    ]
    return min(starts, default=Fraction(0))
