"""Frames of a video or a camera, one at a time, by OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fecnet.utils.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_INSTALL = "videos need OpenCV; install it with: pip install opencv-python-headless"
_MOST_CAMERAS = 100  # OpenCV decodes larger numbers: 200 selects a backend, not a camera


class VideoFrame(NamedTuple):
    """One frame, upright, and where it is."""

    number: int  # from 0
    time_s: float  # of a video as the file says it, by the frame rate where it does not; of a camera since its start
    image_HWC: np.ndarray  # uint8, RGB


class _Frames:
    """What videos and cameras share; never more than one frame is held."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self.rate = float(capture.get(cv2().CAP_PROP_FPS))
        self.read = 0

    def frames(self, every: int = 1, first: int = 0) -> Generator[VideoFrame, None, None]:
        """Every ``every``-th frame from frame 0 to the end, or to the last readable one.

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

    def _time(self, number: int) -> float:
        """When the frame that was grabbed last was, seconds."""
        raise NotImplementedError


class Video(_Frames):
    """A video file, read from its beginning.

    Args:
        path: the file.

    Attributes:
        name: the path as it was given.
        announced: number of frames according to the file; 0 = unknown.
        rate: frames per second according to the file.
        read: how many were read so far.

    Raises:
        UserError: OpenCV is missing or cannot open the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.name = Path(path), str(path)
        super().__init__(_opened(self.path))
        self.announced = max(0, int(self._capture.get(cv2().CAP_PROP_FRAME_COUNT)))

    @property
    def note(self) -> str:
        """A message if the file ended before its announced number of frames; else empty.

        One frame fewer is normal: where the number is not stored it follows from length and rate.
        """
        if self.read >= self.announced - 1:
            return ""
        return f"{self.path}: ends early: {self.read} frames of {self.announced} announced"

    def _time(self, number: int) -> float:
        told_ms = float(self._capture.get(cv2().CAP_PROP_POS_MSEC))
        if told_ms > 0 or number == 0 or not self.rate > 0:
            return max(0.0, told_ms) / 1000
        return number / self.rate


class Camera(_Frames):
    """A camera of this machine; its frames do not end.

    Args:
        number: 0 for the first one.

    Attributes:
        name: ``camera`` and its number.
        announced: 0: its frames have no number.
        note: the message if it stops giving frames.
        rate: frames per second according to the camera; 0 = unknown.
        read: how many were read so far.

    Raises:
        UserError: OpenCV is missing, or there is no such camera.
    """

    announced = 0

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        self.note = f"{self.name}: gives no more pictures"
        super().__init__(_camera(number))
        self._begun = time.monotonic()

    def _time(self, number: int) -> float:
        if number == 0:
            self._begun = time.monotonic()
        return time.monotonic() - self._begun


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def cv2() -> Any:
    """OpenCV.

    Raises:
        UserError: it is missing.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # suppress its messages about broken files; ours suffice
    try:
        import cv2
    except ImportError as error:
        raise UserError(_INSTALL) from error
    return cv2


@contextmanager
def silent() -> Iterator[Any]:
    """OpenCV without its own error messages."""
    logging = cv2().utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield cv2()
    finally:
        logging.setLogLevel(level)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    capture = cv2().VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(f"{path}: not a video that OpenCV {cv2().__version__} reads; it may be cut off or empty")
    return capture


def _camera(number: int) -> Any:
    if number >= _MOST_CAMERAS:
        raise UserError(f"camera {number}: allowed: 0 to {_MOST_CAMERAS - 1}")
    with silent() as opencv:
        capture = opencv.VideoCapture(number)
        if not capture.isOpened():
            raise UserError(f"camera {number}: not there, or another program has it; a file of that name is ./{number}")
        capture.set(opencv.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not the oldest of those that wait
    return capture
