"""``fecnet watch``: frame after frame from a source to the faces in it, drawn, shown and kept."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fecnet.embed.videos import Camera, VideoFrame
from fecnet.utils.errors import UserError
from fecnet.utils.signals import StopOnSignal
from fecnet.watch.drawing import draw_faces
from fecnet.watch.faces import FaceWatcher, SeenFace
from fecnet.watch.output import FILMS, PICTURES, Film, Picture, Table, Window, why_no_window
from fecnet.watch.sources import Photo, Source

logger = logging.getLogger(__name__)

_RECENT = 10  # frames over which frames/s is measured


class Views:
    """All that frames go to.

    Args:
        window: shows them.
        film: keeps them.
        table: keeps the faces.
    """

    def __init__(
        self, *, window: Window | None = None, film: Film | Picture | None = None, table: Table | None = None
    ) -> None:
        self._window, self._film, self._table = window, film, table

    @property
    def files(self) -> list[Path]:
        """What is written."""
        return [view.path for view in (self._film, self._table) if view is not None]

    def add(self, frame: VideoFrame, drawn_HWC: np.ndarray, faces: Sequence[SeenFace]) -> bool:
        """Show and keep a frame; whether to go on."""
        if self._table is not None:
            self._table.add(frame, faces)
        if self._film is not None:
            self._film.add(drawn_HWC, frame.time_s)
        return self._window is None or self._window.show(drawn_HWC, frame.time_s)

    def close(self) -> None:
        """Finish what was begun; further signals wait."""
        with StopOnSignal(), ExitStack() as stack:
            for view in (self._window, self._table, self._film):
                if view is not None:
                    stack.callback(view.close)


def open_views(
    source: Source,
    *,
    output: Path | None = None,
    table: Path | None = None,
    window: bool = True,
    every: int = 1,
    overwrite: bool = False,
) -> Views:
    """A window where there can be one, else a file; both where a file is asked for.

    Args:
        source: what is looked at.
        output: annotated film or picture; None for one beside the source where there is no window.
        table: of faces; None for none.
        window: open one where it can be.
        every: frames of the source for each that is looked at.
        overwrite: replace what stands at ``output`` and ``table``.

    Raises:
        UserError: a name that does not end as such files do, or that of a file that is there.
        OSError: a folder that cannot be written.
    """
    problem = why_no_window() if window else "--no-window"
    if problem and output is None:
        output = _beside(source)
    if problem and window:
        logger.info(f"no window: {problem}; drawn into {output}")
    for path, endings in ((output, PICTURES if isinstance(source, Photo) else FILMS), (table, {".csv": ""})):
        if path is not None:
            _check(path, list(endings), Path(source.name), overwrite=overwrite)
    still, live = isinstance(source, Photo), isinstance(source, Camera)
    film: Film | Picture | None = None
    if output is not None:
        film = Picture(output) if still else Film(output, source.rate / every, live=live)
    return Views(
        window=None if problem else Window(f"fecnet: {source.name}", still=still),
        film=film,
        table=None if table is None else Table(table),
    )


def watch(watcher: FaceWatcher, source: Source, views: Views, *, every: int = 1) -> None:
    """Look at every frame until the source or the user ends it; what was kept so far stays, whatever ends it.

    Args:
        watcher: finds the faces and asks the net.
        source: the frames.
        views: where frames go; closed at the end.
        every: look at every so many frames.

    Raises:
        UserError: not one frame could be read.
        OSError: the disk is full.
    """
    still = isinstance(source, Photo)
    tally = _Tally()
    try:
        with (
            closing(source.frames(every)) as frames,
            tqdm(desc=source.name, total=-(-source.announced // every) or None, unit="frame", disable=still) as bar,
        ):
            for frame in frames:
                faces = watcher.look(frame.image_HWC)
                seen_s = time.monotonic()  # before a window waits for the user
                corner = "" if still else f"{tally.rate(seen_s):.1f} frames/s"
                go_on = views.add(frame, draw_faces(frame.image_HWC, faces, corner), faces)
                tally.add(faces, seen_s)
                bar.set_postfix(faces=len(faces), refresh=False)
                bar.update()
                if not go_on:
                    break
            else:
                if not tally.frames:
                    raise UserError(f"{source.name}: not one picture can be read from it")
                if source.note:
                    logger.info(source.note)
    finally:
        views.close()
        if tally.frames:
            logger.info(tally.summary(source.name, views.files))


class _Tally:
    """What was seen, and how fast."""

    def __init__(self) -> None:
        self.frames = self.with_faces = self.faces = 0
        self._begun = time.monotonic()
        self._recent = deque([self._begun], maxlen=_RECENT)  # when the last frames were seen

    def add(self, faces: Sequence[SeenFace], seen_s: float) -> None:
        """Count a frame that is done, and was seen then."""
        self.frames, self.faces = self.frames + 1, self.faces + len(faces)
        self.with_faces += bool(faces)
        self._recent.append(seen_s)

    def rate(self, seen_s: float) -> float:
        """Frames a second of late, with the one that is seen now."""
        return len(self._recent) / max(seen_s - self._recent[0], 1e-6)

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


def _check(path: Path, endings: Sequence[str], source: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: '{path.suffix}' names no file to write here; allowed: {', '.join(endings)}")
    if path.exists() and source.exists() and path.samefile(source):
        raise UserError(f"{path}: would be written over and is the source too; give another --output")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; use --overwrite to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
