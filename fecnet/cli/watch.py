"""``fecnet watch RUN SOURCE``: the faces of a camera, a video or a picture, with what the net says of each."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from fecnet.cli.net_options import add_net_options, open_net
from fecnet.utils.errors import UserError

logger = logging.getLogger(__name__)

_EPILOG = """examples:
  fecnet watch result/run 0                                     the first camera, in a window
  fecnet watch result/run film.mp4 --no-window                  film.watched.mp4, and frames/s
  fecnet watch result/run party.jpg --output faces.png
  fecnet watch result/run film.mp4 --reference smile.jpg --table film.csv
  fecnet watch result/run film.mp4 --every 5 --detector-model face_detection_yunet_2023mar.onnx
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "Find all faces of a camera, a video or a picture, align them as in training, and draw what the net says of "
        "each: class and probability; valence and arousal; of an embedding the distance to a reference photo and to "
        "the same face in the frame before. In a window where there is a display (q or Esc ends it), else into a file."
    )
    parser.add_argument("net", metavar="RUN", help="run or checkpoint folder, such as result/demo")
    parser.add_argument("source", metavar="SOURCE", help="number of a camera (0 the first), video or picture")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also write it: .mp4 or .avi; of a picture .png, .jpg"
    )
    parser.add_argument("--table", type=Path, metavar="FILE.csv", help="write a row for each face of each frame")
    parser.add_argument("--reference", type=Path, metavar="PHOTO", help="tell the distance to the largest face of it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="look at every N-th frame (default 1)")
    parser.add_argument("--no-window", action="store_true", help="only write; default beside the source, as .watched")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--align", action="store_true", help="refuse nets whose faces were not aligned, instead of cutting squares"
    )
    how.add_argument("--whole", action="store_true", help="the whole frame is a face already; look for none")
    add_net_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what stands at OUTPUT and TABLE")
    parser.set_defaults(run=_watch)


def _watch(options: argparse.Namespace) -> int:
    from fecnet.watch.sources import open_source

    if options.every < 1:
        raise UserError(f"every: {options.every}; allowed: 1 or more")
    source = open_source(options.source)  # what is not there is told before torch is imported

    from fecnet.watch.faces import FaceWatcher
    from fecnet.watch.watch import open_views, watch

    encoder = open_net(options)
    if options.align:
        encoder.check_align()
    watcher = FaceWatcher(encoder, whole=options.whole, reference=options.reference)
    if watcher.note:
        logger.info(watcher.note)
    views = open_views(
        source,
        output=options.output,
        table=options.table,
        window=not options.no_window,
        every=options.every,
        overwrite=options.overwrite,
    )
    watch(watcher, source, views, every=options.every)
    return 0
