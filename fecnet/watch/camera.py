"""Frames of a camera, one at a time, by OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fecnet.embed.videos import VideoFrame
from fecnet.utils.errors import UserError

_INSTALL = "cameras and windows need OpenCV; install it with: pip install 'fecnet[video]'"
_MOST_CAMERAS = 100  # OpenCV interprets larger numbers differently: 200 selects a backend, not a camera


class Camera:
    """A camera of this machine; its frames do not end.

    Args:
        number: 0 for the first one.

    Attributes:
        name: ``camera`` and its number.
        announced: 0: its frames have no number.
        note: the message if the camera stops delivering frames.
        rate: frames per second according to the camera; 0 = unknown.

    Raises:
        UserError: OpenCV is missing, or there is no such camera.
    """

    announced = 0

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        self.note = f"{self.name}: gives no more pictures"
        self._capture = _opened(number)
        self.rate = float(self._capture.get(cv2().CAP_PROP_FPS))
        self._begun = time.monotonic()

    def frames(self, every: int = 1) -> Generator[VideoFrame, None, None]:
        """Every ``every``-th frame (1 or more) until the camera delivers no more; the first has time 0."""
        number = 0
        try:
            while self._capture.grab():
                if number % every == 0:
                    fine, image_HWC = self._capture.retrieve()
                    if not fine:
                        return
                    yield VideoFrame(number, self._time(number), np.ascontiguousarray(image_HWC[..., ::-1]))
                number += 1
        finally:
            self._capture.release()

    def _time(self, number: int) -> float:
        if number == 0:
            self._begun = time.monotonic()
        return time.monotonic() - self._begun


def cv2() -> Any:
    """OpenCV.

    Raises:
        UserError: it is missing.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg may read a camera; its messages are replaced by ours
    try:
        import cv2
    except ImportError as error:
        raise UserError(_INSTALL) from error
    return cv2


@contextmanager
def _silent() -> Iterator[Any]:
    """OpenCV without its own error messages."""
    logging = cv2().utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield cv2()
    finally:
        logging.setLogLevel(level)


def _opened(number: int) -> Any:
    if number >= _MOST_CAMERAS:
        raise UserError(f"camera {number}: allowed: 0 to {_MOST_CAMERAS - 1}")
    with _silent() as opencv:
        capture = opencv.VideoCapture(number)
        if not capture.isOpened():
            raise UserError(f"camera {number}: not there, or another program has it; a file of that name is ./{number}")
        capture.set(opencv.CAP_PROP_BUFFERSIZE, 1)  # read the newest picture, not the oldest in the queue
    return capture
