"""``fecnet analyze``: a table of all faces of photos and videos, with tracks, change and peaks."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from fecnet.analysis.following import OVER_S, Follower, Peak, Track
from fecnet.analysis.plot import plot_tracks
from fecnet.analysis.reading import FaceReader, FaceRow, Tally
from fecnet.analysis.tables import Columns, FaceTable, JsonFaces, check_table, open_table
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.pictures import OK
from fecnet.evaluation.drawing import require_matplotlib
from fecnet.faces.picture_files import decoder_hint, is_video
from fecnet.faces.picture_lists import LIST_SUFFIXES
from fecnet.faces.which import Which
from fecnet.utils.env import now
from fecnet.utils.errors import UserError
from fecnet.utils.files import whole_or_absent
from fecnet.utils.program import command_line

logger = logging.getLogger(__name__)

_SHOWN = 20  # faces kept for display in the terminal


@dataclass(frozen=True)
class Analysis:
    """The result of an analysis.

    Attributes:
        tally: counts of what was read.
        tracks: tracks of all videos.
        peaks: the largest changes, the largest first.
        first: the first faces of photos, for the terminal.
    """

    tally: Tally
    tracks: list[Track]
    peaks: list[Peak]
    first: list[FaceRow] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the faces."""
        tally = self.tally
        counts: dict[str, Any] = {"photos": tally.photos, "videos": tally.videos, "frames": tally.frames}
        counts |= {
            "without_face": dict(sorted(tally.empty.items())),
            "faces_by_status": dict(sorted(tally.faces.items())),
        }
        counts |= {"cuts": tally.cuts, "notes": tally.notes}
        return {
            "tracks": [track.to_dict() for track in self.tracks],
            "peaks": [peak.to_dict() for peak in self.peaks],
            "read": counts,
        }


def face_rows(encoder: Encoder, sources: Sources, *, faces: Which = "all", over_s: float = OVER_S) -> Iterator[FaceRow]:
    """All faces of photos and videos, one at a time; memory does not grow with their number.

    Args:
        encoder: the net.
        sources: photos and videos, folders and lists of them.
        faces: which faces of each photo and frame, see ``Encoder``.
        over_s: ``change`` compares with the latest face of the track that is at least this many seconds earlier.

    Raises:
        UserError: a source that does not fit, or the detector is missing.
    """
    follower = Follower(encoder.classes, over_s=over_s)
    for row in FaceReader(encoder, sources, faces=faces).rows():
        yield follower.add(row)


def analyse(
    encoder: Encoder,
    sources: Sources,
    *,
    table: Path | None = None,
    json: str = "",
    plot: Path | None = None,
    num_peaks: int = 0,
    faces: Which = "all",
    over_s: float = OVER_S,
    overwrite: bool = False,
    progress: bool = True,
) -> Analysis:
    """Write the faces of all sources; each file appears only when it is complete.

    Args:
        encoder: the net.
        sources: see ``face_rows``.
        table: ``.csv`` or ``.parquet``; None for none.
        json: the faces, tracks, peaks and counts; a file, ``-`` for standard output, empty for none.
        plot: PNG of the tracks with the most faces; None for none.
        num_peaks: number of moments of largest change to find.
        faces: see ``face_rows``.
        over_s: see ``face_rows``.
        overwrite: replace existing files.
        progress: show a bar.

    Raises:
        UserError: a file exists, has another suffix or is a source; a source does not fit; a library is missing; the
            net has no embedding for peaks; no face for a plot.
        OSError: the disk is full or read-only.
    """
    _check(encoder, sources, table, json, plot, num_peaks, over_s, overwrite=overwrite)
    reader = FaceReader(encoder, sources, faces=faces, progress=progress)
    columns = Columns(encoder)
    follower, first = Follower(encoder.classes, over_s=over_s, num_peaks=num_peaks), list[FaceRow]()
    head: dict[str, Any] = {
        "net": {"name": encoder.name, "identity": encoder.identity},
        "classes": list(encoder.classes),
    }
    head |= {"command": command_line(), "date": now(), "over_s": over_s}
    with ExitStack() as stack:
        tables: list[FaceTable] = []
        if table is not None:
            tables.append(stack.enter_context(open_table(table, columns)))
        document = JsonFaces(stack.enter_context(_json_file(json)), head) if json else None
        tables += [document] if document else []
        for row in map(follower.add, reader.rows()):
            cells = columns.cells(row)
            for one in tables:
                one.add(cells)
            if row.track is None and len(first) < _SHOWN:
                first.append(row)
        follower.end()
        analysis = Analysis(reader.tally, follower.tracks, follower.peaks(), first)
        if document:
            document.end(analysis.to_dict())
        if plot is not None:
            plot_tracks(follower.curves(), encoder.classes, plot, peaks=analysis.peaks)
    for note in reader.tally.notes:
        logger.info(note)
    logger.info(summary(analysis, sources))
    if plot is not None and len(analysis.tracks) > len(follower.curves()):
        logger.info(f"{plot}: the {len(follower.curves())} tracks of the most faces, of {len(analysis.tracks):,}")
    return analysis


def summary(analysis: Analysis, sources: Sources) -> str:
    """What was read and found, and what was dropped, by reason, in one line."""
    tally = analysis.tally
    read = [_count(tally.photos, "photo")] if tally.photos or not tally.videos else []
    if tally.videos:
        read.append(f"{_count(tally.frames, 'frame')} of {_count(tally.videos, 'video')}")
    text = f"{', '.join(read)}: {_count(tally.faces.total(), 'face')}"
    if tally.videos:
        text += f", {_count(len(analysis.tracks), 'track')}, {_count(tally.cuts, 'cut')}"
    text += _by_reason("; without predictions", Counter({k: n for k, n in tally.faces.items() if k != OK}))
    text += _by_reason("; photos and frames without a face", tally.empty)
    return f"{text}{decoder_hint(tally.empty)}" + (f"; {sources.passed_over_text}" if sources.passed_over_text else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _by_reason(what: str, counts: Counter[str]) -> str:
    reasons = ", ".join(f"{word} {number:,}" for word, number in sorted(counts.items()))
    return f"{what} {counts.total():,}: {reasons}" if reasons else ""


@contextmanager
def _json_file(target: str) -> Iterator[TextIO]:
    """A file that appears only when it is complete; ``-``: standard output, at the end."""
    if target != "-":
        with whole_or_absent(Path(target)) as partial, partial.open("w", encoding="utf-8") as file:
            yield file
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield file
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout)


def _check(
    encoder: Encoder,
    sources: Sources,
    table: Path | None,
    json: str,
    plot: Path | None,
    num_peaks: int,
    over_s: float,
    *,
    overwrite: bool,
) -> None:
    """Raise errors before any work is done."""
    if table is not None:
        check_table(table)
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UserError(f"{plot}: --plot writes a file *.png")
        require_matplotlib()
    if num_peaks < 0:
        raise UserError(f"peaks: {num_peaks}; allowed: 0 or more")
    if not over_s > 0:
        raise UserError(f"over: {over_s}; allowed: seconds above 0")
    if num_peaks:
        encoder.check_output("embedding")
    if (num_peaks or plot is not None) and all(path.is_file() and not _may_hold_videos(path) for path in sources.paths):
        raise UserError(f"{sources.paths[0]}: --peaks and --plot are of videos; there is none among the sources")
    outputs = [path for path in (table, plot, Path(json) if json not in ("", "-") else None) if path is not None]
    if len(set(outputs)) < len(outputs):
        raise UserError(f"{outputs[0]}: named for two outputs; give each its own file")
    for path in outputs:
        for source in sources.paths:
            if path.exists() and source.exists() and path.samefile(source):
                raise UserError(f"{path}: would be written over and is a source too; give another name")
        if path.is_dir():
            raise UserError(f"{path}: a folder; expected the name of a file")
        if path.exists() and not overwrite:
            raise UserError(f"{path}: exists already; use --overwrite to replace it")


def _may_hold_videos(path: Path) -> bool:
    return is_video(path) or path.suffix.lower() in LIST_SUFFIXES
