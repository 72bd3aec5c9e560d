"""Outputs for annotated frames other than a video: a window, an image, and a table of the faces.

Files are written under a temporary name and renamed on closing, also when interrupted.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from fecnet.embed.videos import VideoFrame
from fecnet.utils.files import named_errors, own_partial, replace_bytes
from fecnet.watch.camera import cv2
from fecnet.watch.faces import FacePrediction

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_PROBE_S = 30
_LARGEST_WINDOW = 1280  # pixels of the longer side of a new window
_KEYS_TO_END = {ord("q"), ord("Q"), 27}  # 27: Esc
_WHERE = ("picture", "frame", "time_s", "x1", "y1", "x2", "y2", "status")
_WHAT = ("expression", "probability", "valence", "arousal", "to_reference", "change")


class Picture:
    """One annotated picture.

    Args:
        path: ``.png`` or ``.jpg``; replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, image_HWC: np.ndarray, time_s: float) -> None:
        """Write the picture, uint8, RGB, shape (H, W, 3).

        Raises:
            OSError: the disk is full or read-only.
        """
        held = io.BytesIO()
        Image.fromarray(image_HWC).save(held, PICTURES[self.path.suffix.lower()])
        replace_bytes(self.path, held.getbuffer())

    def close(self) -> None:
        """Nothing is left to do."""


class Table:
    """A row for each face of each frame of each picture, as CSV; outputs that the net does not have are empty.

    Args:
        path: ``.csv``; replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = contextlib.ExitStack()
        self._file: TextIO | None = None

    def add(self, frame: VideoFrame, faces: Sequence[FacePrediction], picture: str) -> None:
        """Write the faces of a frame of ``picture``.

        Raises:
            OSError: the disk is full or read-only.
            UserError: another command is writing it.
        """
        with named_errors(self.path):
            if self._file is None:
                self._partial = self._held.enter_context(own_partial(self.path))
                self._file = self._partial.open("w", newline="", encoding="utf-8")
                csv.writer(self._file).writerow([*_WHERE, *_WHAT])
            rows = csv.writer(self._file)
            for face in faces:
                box = [f"{edge:.1f}" for edge in face.box_4.tolist()]
                affect = face.affect or (None, None)
                numbers = [face.probability, *affect, face.to_reference, face.change]
                cells = ["" if number is None else f"{number:.4f}" for number in numbers]
                where = [picture, str(frame.number), f"{frame.time_s:.3f}", *box, face.status]
                rows.writerow([*where, face.expression or "", *cells])

    def close(self) -> None:
        """Finish the table and rename it; without a frame there is no file.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None:
            return
        with self._held, named_errors(self.path):
            self._file.close()
            self._partial.replace(self.path)


class PartOfTable:
    """The rows of one source in a table.

    Args:
        table: the table.
        picture: name of the source.
        last: close the table with this part.
    """

    def __init__(self, table: Table, picture: str, *, last: bool = False) -> None:
        self.path, self._table, self._picture, self._last = table.path, table, picture, last

    def add(self, frame: VideoFrame, faces: Sequence[FacePrediction]) -> None:
        """Write the faces of a frame."""
        self._table.add(frame, faces, self._picture)

    def close(self) -> None:
        """Finish the table with its last part."""
        if self._last:
            self._table.close()


class Window:
    """An OpenCV window.

    Args:
        title: title of the window.
        still: a single image: the window stays open until a key is pressed.
    """

    def __init__(self, title: str, *, still: bool) -> None:
        self._title, self._still = title, still
        cv2().namedWindow(title, cv2().WINDOW_NORMAL | cv2().WINDOW_KEEPRATIO | cv2().WINDOW_GUI_NORMAL)
        self._begun: float | None = None  # clock time of a frame of time 0

    def show(self, image_HWC: np.ndarray, time_s: float) -> bool:
        """Show a frame, uint8, RGB, no earlier than ``time_s`` after the first one.

        Returns:
            Whether to continue: neither q nor Esc was pressed, and the window is still open.
        """
        cv2().imshow(self._title, np.ascontiguousarray(image_HWC[..., ::-1]))
        if self._begun is None:
            self._begun = time.monotonic() - time_s
            smaller = min(1.0, _LARGEST_WINDOW / max(image_HWC.shape))
            cv2().resizeWindow(self._title, *(max(1, round(side * smaller)) for side in image_HWC.shape[1::-1]))
        early_s = time_s - (time.monotonic() - self._begun)
        key = cv2().waitKey(round(1000 * min(max(early_s, 0.001), 1)))
        while self._still and key < 0 and self._there():
            key = cv2().waitKey(50)
        return key & 0xFF not in _KEYS_TO_END and self._there()

    def close(self) -> None:
        """Close it."""
        cv2().destroyAllWindows()

    def _there(self) -> bool:
        return bool(cv2().getWindowProperty(self._title, cv2().WND_PROP_VISIBLE) >= 1)


def why_no_window() -> str:
    """Why no window can be opened here; empty where one can.

    Tried in another process, since some window systems terminate the process if no display responds.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    try:
        import_and_open = "import cv2; cv2.namedWindow('fecnet'); cv2.destroyAllWindows()"
        tried = subprocess.run(
            [sys.executable, "-c", import_and_open], capture_output=True, timeout=_PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "the display does not answer"
    if tried.returncode:
        return "OpenCV opens none here: opencv-python-headless cannot, opencv-python can where the display answers"
    return ""
