"""Sources of ``fecnet watch``: a camera, a video or one image."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from fecnet.embed.videos import Video, VideoFrame
from fecnet.faces.decode import count_pictures, decode_image
from fecnet.faces.picture_files import is_video
from fecnet.utils.errors import UserError
from fecnet.watch.camera import Camera


class Source(Protocol):
    """Frames, one at a time."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def rate(self) -> float:
        """Frames per second; 0 = unknown."""

    @property
    def announced(self) -> int:
        """Number of frames; 0 = unknown."""

    @property
    def note(self) -> str:
        """A message for after the last frame; empty if there is none."""

    def frames(self, every: int = 1) -> Generator[VideoFrame, None, None]:
        """Every ``every``-th frame."""


class Photo:
    """One picture, read when it is opened.

    Args:
        path: the file.

    Raises:
        UserError: it is damaged, not a picture, or does not exist.
        OSError: it cannot be opened.
    """

    rate, announced = 0.0, 1

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UserError(f"{path}: no such file; allowed: a picture, a video or the number of a camera, such as 0")
        self.name, self._image_HWC = str(path), decode_image(path)
        num = count_pictures(path)
        self.note = f"{path}: the first of the {num} pictures in it" if num > 1 else ""

    def frames(self, every: int = 1) -> Generator[VideoFrame, None, None]:
        """The picture."""
        yield VideoFrame(0, 0.0, self._image_HWC)


def open_source(given: str) -> Source:
    """The camera of that number, or the video or picture of that name.

    Raises:
        UserError: it cannot be opened, or is none of these; PyAV or OpenCV is missing.
        OSError: a file that cannot be opened.
    """
    path = Path(given)
    if given.isascii() and given.isdigit():
        return Camera(int(given))
    if path.is_dir():
        raise UserError(f"{path}: a folder; allowed: a picture, a video or the number of a camera, such as 0")
    return Video(path) if is_video(path) else Photo(path)
