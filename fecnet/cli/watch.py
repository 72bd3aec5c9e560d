"""``fecnet watch RUN SOURCE``: predictions overlaid on webcam, video or images."""

from __future__ import annotations

import argparse
from pathlib import Path

from fecnet.cli.net_options import add_faces_option, add_net_options, open_net
from fecnet.utils.errors import UserError

_EPILOG = """examples:
  fecnet watch result/run 0                                     the first camera, in a window
  fecnet watch result/run film.mp4 --no-window                  writes film.watched.mp4
  fecnet watch result/run party.jpg --output faces.png
  fecnet watch result/run film.mp4 --reference smile.jpg --table film.csv
  fecnet watch result/run film.mp4 --every 5 --detector-model face_detection_yunet_2023mar.onnx
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "Find the faces in a webcam, video or image, cut them as in training, and overlay the predictions: class "
        "and probability; valence and arousal; for an embedding the distance to a reference photo and to the same face "
        "in the previous frame. Shown in a window if there is a display (q or Esc quits), else written to a file."
    )
    parser.add_argument("net", metavar="RUN", help="run or checkpoint folder, such as result/demo")
    parser.add_argument("source", metavar="SOURCE", help="index of a camera (0 = first), video or image")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also write to FILE: .mp4 or .avi; for images .png, .jpg"
    )
    parser.add_argument("--table", type=Path, metavar="FILE.csv", help="write a row per face and frame")
    parser.add_argument(
        "--reference", type=Path, metavar="PHOTO", help="show the distance to the largest face of PHOTO"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="process every N-th frame (default 1)")
    parser.add_argument("--no-window", action="store_true", help="write only (default beside the source, as .watched)")
    add_faces_option(parser, default="all")
    add_net_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing OUTPUT and TABLE")
    parser.set_defaults(run=_watch)


def _watch(options: argparse.Namespace) -> int:
    from fecnet.watch.sources import open_source

    if options.every < 1:
        raise UserError(f"every: {options.every}; allowed: 1 or more")
    source = open_source(options.source)  # what is not there is told before torch is imported

    from fecnet.watch.faces import FaceWatcher
    from fecnet.watch.watch import open_views, watch

    encoder = open_net(options)
    watcher = FaceWatcher(encoder, faces=options.faces, reference=options.reference)
    views = open_views(
        source,
        output=options.output,
        table=options.table,
        window=not options.no_window,
        overwrite=options.overwrite,
    )
    watch(watcher, source, views, every=options.every)
    return 0
