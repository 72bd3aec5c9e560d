"""``fecnet watch [NET] SOURCE``: predictions overlaid on webcam, video or images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.cli.net_options import add_faces_option, add_net_and_sources, add_net_options, open_net, take_net
from fecnet.utils.errors import UserError

if TYPE_CHECKING:
    from fecnet.watch.faces import FaceWatcher

_EPILOG = """examples:
  fecnet watch party.jpg --no-window                            with the shipped net
  fecnet watch result/run 0                                     the first camera, in a window
  fecnet watch result/run video.mp4 --no-window                  writes video.watched.mp4
  fecnet watch result/run party.jpg --output faces.png
  fecnet watch result/run video.mp4 --reference smile.jpg --table video.csv
  fecnet watch result/run photos --no-window --table faces.csv   a folder: writes photos.watched/
  fecnet watch result/run video.mp4 --every 5 --detector-model face_detection_yunet_2023mar.onnx
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.description = (
        "Find the faces in a webcam, video or image, crop them as in training, and overlay the predictions: class "
        "and probability; valence and arousal; for an embedding the distance to a reference photo and to the same face "
        "in the previous frame. Shown in a window if there is a display (q or Esc quits), else written to a file."
    )
    add_net_and_sources(parser, "index of a camera (0 = first), video, image, or folder of them")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="also write to FILE: .mp4 or .avi; for images .png, .jpg; for a folder a folder",
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
    names = take_net(options)
    if len(names) > 1:
        raise UserError(f"{names[1]}: one source at a time; given: {', '.join(map(str, names))}")
    if names[0].is_dir():
        return _watch_folder(options, names[0])
    source = open_source(str(names[0]))  # what is not there is told before torch is imported

    from fecnet.watch.watch import open_views, watch

    watcher = _watcher(options)
    views = open_views(
        source,
        output=options.output,
        table=options.table,
        window=not options.no_window,
        overwrite=options.overwrite,
    )
    watch(watcher, source, views, every=options.every)
    return 0


def _watch_folder(options: argparse.Namespace, folder: Path) -> int:
    from fecnet.watch.folder import watch_folder

    watch_folder(
        _watcher(options),
        folder,
        output=options.output,
        table=options.table,
        window=not options.no_window,
        every=options.every,
        overwrite=options.overwrite,
    )
    return 0


def _watcher(options: argparse.Namespace) -> FaceWatcher:
    from fecnet.watch.faces import FaceWatcher

    return FaceWatcher(open_net(options), faces=options.faces, reference=options.reference)
