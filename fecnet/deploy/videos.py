"""Frames of a video, one at a time, by OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_INSTALL = "videos need OpenCV; install it with: pip install opencv-python-headless"


class VideoFrame(NamedTuple):
    """One frame, upright, and where it is."""

    number: int  # from 0
    time_s: float  # as the file says it; by the frame rate where it does not
    image_HWC: np.ndarray  # uint8, RGB


class Video:
    """A video file, read from its beginning; never more than one frame is held.

    Args:
        path: the file.

    Attributes:
        announced: how many frames the file says it has; 0 where it does not say.
        read: how many were read so far.

    Raises:
        ValueError: OpenCV is missing or cannot open the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._capture = _opened(self.path)
        self.announced = max(0, int(self._capture.get(_cv2().CAP_PROP_FRAME_COUNT)))
        self._rate = float(self._capture.get(_cv2().CAP_PROP_FPS))
        self.read = 0

    def frames(self, every: int = 1, first: int = 0) -> Iterator[VideoFrame]:
        """Every ``every``-th frame from the 0th on, to the end or to where the file cannot be read any further.

        Args:
            every: 1 or more.
            first: frames before this number are passed over, which costs less than reading them.
        """
        try:
            while self._capture.grab():
                number, self.read = self.read, self.read + 1
                if number < first or number % every:
                    continue
                fine, image_HWC = self._capture.retrieve()
                if not fine:
                    return
                yield VideoFrame(number, self._time(number), np.ascontiguousarray(image_HWC[..., ::-1]))
        finally:
            self._capture.release()

    @property
    def ends_early(self) -> str:
        """What to tell of a file that was read to its end and has fewer frames than it says; else nothing.

        One frame fewer is no news: where the number is not stored it follows from length and rate.
        """
        if self.read >= self.announced - 1:
            return ""
        return f"{self.path}: ends early: {self.read} frames of {self.announced} announced"

    def _time(self, number: int) -> float:
        told_ms = float(self._capture.get(_cv2().CAP_PROP_POS_MSEC))
        if told_ms > 0 or number == 0 or not self._rate > 0:
            return max(0.0, told_ms) / 1000
        return number / self._rate


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _cv2() -> Any:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its own lines about broken files; ours say it
    try:
        import cv2
    except ImportError as error:
        raise ValueError(_INSTALL) from error
    return cv2


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    cv2 = _cv2()
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(f"{path}: not a video that OpenCV {cv2.__version__} reads; it may be cut off or empty")
    return capture
