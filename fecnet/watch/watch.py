"""``fecnet watch``: processes a source frame by frame; shows and writes the annotated frames."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fecnet.embed.videos import VideoFrame
from fecnet.utils.errors import UserError
from fecnet.utils.signals import StopOnSignal
from fecnet.watch.camera import Camera
from fecnet.watch.drawing import draw_faces
from fecnet.watch.faces import FacePrediction, FaceWatcher
from fecnet.watch.output import PICTURES, PartOfTable, Picture, Table, Window, why_no_window
from fecnet.watch.sources import Photo, Source
from fecnet.watch.video_file import VIDEO_CODECS, VideoFile

logger = logging.getLogger(__name__)

_RECENT = 10  # frames over which frames/s is measured


class Views:
    """All outputs of frames.

    Args:
        window: shows the frames.
        video: writes the frames.
        table: writes the faces.
    """

    def __init__(
        self,
        *,
        window: Window | None = None,
        video: VideoFile | Picture | None = None,
        table: PartOfTable | None = None,
    ) -> None:
        self._window, self._video, self._table = window, video, table

    @property
    def files(self) -> list[Path]:
        """Paths of the files."""
        return [view.path for view in (self._video, self._table) if view is not None]

    def add(self, frame: VideoFrame, drawn_HWC: np.ndarray, faces: Sequence[FacePrediction]) -> bool:
        """Show and write a frame; returns whether to continue."""
        if self._table is not None:
            self._table.add(frame, faces)
        if self._video is not None:
            self._video.add(drawn_HWC, frame.time_s)
        return self._window is None or self._window.show(drawn_HWC, frame.time_s)

    def close(self) -> None:
        """Close all outputs; further signals are deferred."""
        with StopOnSignal(), ExitStack() as stack:
            for view in (self._window, self._table, self._video):
                if view is not None:
                    stack.callback(view.close)


def open_views(
    source: Source,
    *,
    output: Path | None = None,
    table: Path | PartOfTable | None = None,
    window: bool = True,
    overwrite: bool = False,
) -> Views:
    """Open a window if possible, else a file; both if a file is given.

    Args:
        source: the frames.
        output: annotated video or image; None: next to the source, if no window can be opened.
        table: table of the faces, a file to write or a part of an open one; None for none.
        window: open one if possible.
        overwrite: replace existing files at ``output`` and ``table``.

    Raises:
        UserError: a wrong suffix, a file that exists, or PyAV is missing for a video.
        OSError: a folder that cannot be written.
    """
    problem = why_no_window() if window else "--no-window"
    if problem and output is None:
        output = _beside(source)
    if problem and window:
        logger.info(f"no window: {problem}; writing to {output}")
    if output is not None:
        endings = PICTURES if isinstance(source, Photo) else VIDEO_CODECS
        check_output(output, list(endings), Path(source.name), overwrite=overwrite)
    if isinstance(table, Path):
        check_output(table, [".csv"], Path(source.name), overwrite=overwrite)
        table = PartOfTable(Table(table), source.name, last=True)
    still = isinstance(source, Photo)
    video: VideoFile | Picture | None = None
    if output is not None:
        video = Picture(output) if still else VideoFile(output, source.rate)
    return Views(
        window=None if problem else Window(f"fecnet: {source.name}", still=still),
        video=video,
        table=table,
    )


def watch(watcher: FaceWatcher, source: Source, views: Views, *, every: int = 1) -> bool:
    """Process every frame until the source or the user ends; everything written so far is kept in any case.

    Args:
        watcher: detects faces and predicts.
        source: the frames.
        views: where frames go; closed at the end.
        every: process every ``every``-th frame.

    Returns:
        Whether the source ended by itself.

    Raises:
        UserError: no frame could be read.
        OSError: the disk is full.
    """
    still = isinstance(source, Photo)
    tally = _Tally()
    watcher.restart()
    try:
        with (
            closing(source.frames(every)) as frames,
            tqdm(desc=source.name, total=-(-source.announced // every) or None, unit="frame", disable=still) as bar,
        ):
            for frame in frames:
                faces = watcher.process(frame.image_HWC)
                done_s = time.monotonic()  # before a window waits for the user
                corner = "" if still else f"{tally.rate(done_s):.1f} frames/s"
                proceed = views.add(frame, draw_faces(frame.image_HWC, faces, corner), faces)
                tally.add(faces, done_s)
                bar.set_postfix(faces=len(faces), refresh=False)
                bar.update()
                if not proceed:
                    return False
            if not tally.frames:
                raise UserError(f"{source.name}: no frame can be read from it")
            if source.note:
                logger.info(source.note)
            return True
    finally:
        views.close()
        if tally.frames:
            logger.info(tally.summary(source.name, views.files))


class _Tally:
    """Counts of frames and faces, and the frame rate."""

    def __init__(self) -> None:
        self.frames = self.with_faces = self.faces = 0
        self._begun = time.monotonic()
        self._recent = deque([self._begun], maxlen=_RECENT)  # times at which the last frames were finished

    def add(self, faces: Sequence[FacePrediction], done_s: float) -> None:
        """Count a frame that was done at that time."""
        self.frames, self.faces = self.frames + 1, self.faces + len(faces)
        self.with_faces += bool(faces)
        self._recent.append(done_s)

    def rate(self, done_s: float) -> float:
        """Recent frames per second, including the one done now."""
        return len(self._recent) / max(done_s - self._recent[0], 1e-6)

    def summary(self, name: str, files: Sequence[Path]) -> str:
        """One line."""
        overall = self.frames / max(self._recent[-1] - self._begun, 1e-6)
        frames = f"{self.frames:,} {'frame' if self.frames == 1 else 'frames'}"
        where = f"; written: {', '.join(map(str, files))}" if files else ""
        return (
            f"{name}: {frames}, {self.with_faces:,} with faces, {self.faces:,} faces in all, "
            f"{overall:.1f} frames/s{where}"
        )


def _beside(source: Source) -> Path:
    """The annotated file's name: next to the source, or in the current folder for a camera."""
    if isinstance(source, Camera):
        return Path(f"{source.name.replace(' ', '-')}.watched.mp4")
    return Path(source.name).with_suffix(".watched.png" if isinstance(source, Photo) else ".watched.mp4")


def check_output(path: Path, endings: Sequence[str], source: Path, *, overwrite: bool) -> None:
    """Raise UserError unless a file of this name can be written, and make its folder."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: '{path.suffix}' names no file to write here; allowed: {', '.join(endings)}")
    if path.exists() and source.exists() and path.samefile(source):
        raise UserError(f"{path}: would be written over and is the source too; give another --output")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; use --overwrite to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
