"""``fecnet watch`` for a folder: annotates all photos and videos in it and writes them to another folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from fecnet.embed.pieces import PhotoPiece, VideoPiece
from fecnet.embed.sources import Sources
from fecnet.faces.picture_files import is_video
from fecnet.utils.errors import UserError
from fecnet.watch.faces import FaceWatcher
from fecnet.watch.output import PICTURES, PartOfTable, Table, why_no_window
from fecnet.watch.sources import open_source
from fecnet.watch.video_file import VIDEO_CODECS
from fecnet.watch.watch import check_output, open_views, watch

logger = logging.getLogger(__name__)


def watch_folder(
    watcher: FaceWatcher,
    folder: Path,
    *,
    output: Path | None = None,
    table: Path | None = None,
    window: bool = True,
    every: int = 1,
    overwrite: bool = False,
) -> None:
    """Process all photos and videos in a folder and its subfolders; unreadable ones are reported and skipped.

    Args:
        watcher: detects faces and predicts.
        folder: folder of the pictures.
        output: folder for the annotated ones; None: ``<folder>.watched`` if no window can be opened.
        table: ``.csv`` of all faces; None for none.
        window: show them if a window can be opened; the user may stop there.
        every: process every ``every``-th frame of videos.
        overwrite: replace existing files.

    Raises:
        UserError: no picture in the folder, none that can be read, or an existing file.
        OSError: the disk is full or read-only.
    """
    sources = Sources([folder])
    sources.check()
    problem = why_no_window() if window else "--no-window"
    if problem and output is None:
        output = folder.resolve().with_name(f"{folder.resolve().name}.watched")
        logger.info(f"no window: {problem}; writing to {output}" if window else f"writing to {output}")
    if output is not None and output.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{output}: is inside the folder that is read; give another --output")
    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"{output}: a file; the output for a folder is a folder")
    if table is not None:
        check_output(table, [".csv"], folder, overwrite=overwrite)
    shared = None if table is None else Table(table)
    read = failed = 0
    try:
        for path, place in _files(sources):
            try:
                source = open_source(f"{path}" if path.is_absolute() else f"./{path}")
            except (UserError, OSError) as error:
                failed += 1
                logger.warning(f"passed over: {error}")
                continue
            views = open_views(
                source,
                output=None if output is None else output / annotated(place),
                table=None if shared is None else PartOfTable(shared, str(path)),
                window=not problem,
                overwrite=overwrite,
            )
            try:
                if not watch(watcher, source, views, every=every):
                    break
                read += 1
            except UserError as error:  # a video without frames, or frames that the output format cannot store
                failed += 1
                logger.warning(f"passed over: {error}")
    finally:
        if shared is not None:
            shared.close()
    if failed and not read:
        raise UserError(f"{folder}: none of {failed} pictures in it can be read")
    told = [f"{failed:,} cannot be read"] if failed else []
    told += [sources.passed_over_text] if sources.passed_over_text else []
    logger.info("; ".join([f"{folder}: {read:,} photos and videos", *told]))


def annotated(place: str) -> str:
    """The name of the annotated file: the same where that format can be written, else with a suffix appended."""
    kinds, other = (VIDEO_CODECS, ".mp4") if is_video(Path(place)) else (PICTURES, ".png")
    return place if Path(place).suffix.lower() in kinds else f"{place}{other}"


def _files(sources: Sources) -> Iterator[tuple[Path, str]]:
    """Each photo and video, and its path relative to the folder."""
    for piece in sources.pieces():
        if isinstance(piece, PhotoPiece):
            yield from ((Path(path), place) for path, place in piece.photos)
        elif isinstance(piece, VideoPiece):
            yield piece.path, piece.place
