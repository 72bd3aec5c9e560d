"""``fecnet analyze``: a row for every face of photos and videos, tracks over time, moments of greatest change."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.cli.json_option import add_json_option, print_text
from fecnet.cli.net_options import add_faces_option, add_net_option, add_net_options, open_net

if TYPE_CHECKING:
    from fecnet.analysis.analyse import Analysis

_TRACKS = 20  # shown on the terminal
_EPILOG = """examples:
  fecnet analyze photos                                             with the shipped net: writes faces.csv
  fecnet analyze party.jpg --net result/run --json -                standard output
  fecnet analyze video.mp4 --net result/run --output video.parquet --plot video.png --peaks 5
  fecnet analyze photos video.mp4 --net result/run --every 5 --output faces.csv --json faces.json

columns: picture, frame, time_s, track, x1, y1, x2, y2, score, status; expression and probability_CLASS of each class;
valence, arousal; change, since_s and embedding_0 …; those that the net does not have are left out. change is the
squared distance (0 to 4) to the embedding of the same track at since_s, --over seconds earlier.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "Find every face in photos and videos and write a row for each: position, track, probabilities and embedding. "
        "In videos faces are tracked over the frames, and the moments of largest change of expression are found."
    )
    parser.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="photo, video, folder or list of them, as for embed"
    )
    add_net_option(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="table to write: .csv or .parquet (default faces.csv; with --json none)",
    )
    add_json_option(parser, "faces, tracks, peaks and counts")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw probabilities and change of each track over time"
    )
    parser.add_argument("--peaks", type=int, default=0, metavar="N", help="list the N moments of largest change")
    parser.add_argument(
        "--over", type=float, default=0.5, metavar="SECONDS", help="time over which change is measured (default 0.5)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th frame of a video (default 1)")
    add_faces_option(parser, default="all")
    add_net_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(run=_analyze)


def _analyze(options: argparse.Namespace) -> int:
    from fecnet.embed.sources import Sources

    sources = Sources(options.sources, every=options.every, once=True)  # missing files are reported before torch loads

    from fecnet.analysis.analyse import analyse

    table = options.output or (None if options.json else Path("faces.csv"))
    analysis = analyse(
        open_net(options),
        sources,
        table=table,
        json=options.json,
        plot=options.plot,
        num_peaks=options.peaks,
        faces=options.faces,
        over_s=options.over,
        overwrite=options.overwrite,
    )
    for text in _texts(analysis, peaks=options.peaks > 0):
        print_text(options.json, text)
    written = [str(path) for path in (table, options.json if options.json != "-" else None, options.plot) if path]
    if written:
        print_text(options.json, f"written: {', '.join(written)}")
    return 0


def _texts(analysis: Analysis, *, peaks: bool) -> list[str]:
    """Tables of the first faces, the longest tracks and the peaks."""
    from fecnet.utils.table import align_columns

    texts = []
    if analysis.first:
        rows: list[tuple[object, ...]] = [("picture", "box", "score", "expression", "probability")]
        for row in analysis.first:
            box = " ".join(f"{edge:.0f}" for edge in row.face.box_4.tolist() if edge == edge) or "-"
            best = None if row.face.probability_K is None else float(row.face.probability_K.max())
            word = row.face.expression or ("-" if row.face.status == "ok" else row.face.status)
            rows.append((row.picture, box, _number(row.face.score), word, _number(best)))
        texts.append(align_columns(rows, left=(0, 1, 3)))
        left = analysis.tally.photo_faces - len(analysis.first)
        if left > 0:
            texts.append(f"… {left:,} more faces in the table")
    if analysis.tracks:
        longest = sorted(analysis.tracks, key=lambda track: -track.faces)[:_TRACKS]
        rows = [("video", "track", "from s", "to s", "faces", "expression", "probability", "largest change")]
        for track in longest:
            where = (track.picture, track.track, f"{track.first_s:.3f}", f"{track.last_s:.3f}", track.faces)
            rows.append((*where, track.expression or "-", _number(track.probability), _number(track.change)))
        texts.append(align_columns(rows, left=(0, 5)))
        if len(analysis.tracks) > _TRACKS:
            texts.append(f"… {len(analysis.tracks) - _TRACKS:,} shorter tracks")
    if peaks:
        rows = [("video", "track", "time s", "since s", "change", "before", "after")]
        for peak in analysis.peaks:
            when = (f"{peak.time_s:.3f}", f"{peak.since_s:.3f}", _number(peak.change))
            rows.append((peak.picture, peak.track, *when, peak.before or "-", peak.after or "-"))
        texts.append(align_columns(rows, left=(0, 5, 6)) if len(rows) > 1 else "no change was measured: no peaks")
    return texts


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"
