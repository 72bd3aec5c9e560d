"""``fecnet prepare fec`` and ``fecnet prepare list``: triplets that people answered, with photos or pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fecnet.utils.errors import UserError

if TYPE_CHECKING:
    from fecnet.prepare.extraction import Extraction

_OFFICIAL = "faceexp-comparison-data-{}-public.csv"


def add_fec(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], int]) -> None:
    """Describe ``fecnet prepare fec``; ``report`` says what was made."""
    parser.description = (
        "Read FEC's annotation files, fetch the photos, cut and align the faces, pack them. What is done so far lies "
        "in PATH.work: after a kill or a failure the same command goes on, and nothing is fetched twice."
    )
    parser.add_argument("annotations", type=Path, help=f"folder with {_OFFICIAL.format('{train,test}')}, or one file")
    parser.add_argument("--test", type=Path, help="annotation file of the test split, where the first is one file")
    parser.add_argument("--min-agreement", type=float, default=2 / 3, help="least share of raters (default 2/3)")
    parser.add_argument("--offline", action="store_true", help="fetch nothing; pack what is on disk")
    parser.add_argument(
        "--crops",
        type=Path,
        metavar="DIR",
        help="faces cut already: DIR/crops.csv (url,left,right,top,bottom,path) names them",
    )
    web = parser.add_argument_group("download")
    web.add_argument("--connections", type=_positive, default=32, help="requests at once (default 32)")
    web.add_argument("--per-host", type=_positive, default=4, help="requests at once to one host:port (default 4)")
    web.add_argument("--timeout", type=_amount, default=60.0, help="seconds for one photo (default 60)")
    web.add_argument("--max-mb", type=_amount, default=30.0, help="largest photo, MiB (default 30)")
    web.add_argument("--retry-failed", action="store_true", help="try photos again that were gone for good")
    web.add_argument("--allow-private", action="store_true", help="go to private and loopback addresses too")
    _add_faces(parser, detector="mtcnn")
    parser.set_defaults(run=lambda options: _prepare_fec(options) or report(options))


def add_list(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], int]) -> None:
    """Describe ``fecnet prepare list``; ``report`` says what was made."""
    parser.add_argument("train", type=Path, help="list of img1,img2,img3,label,type lines; label 1..3 is the odd one")
    parser.add_argument("pictures", type=Path, help="folder that the paths in the list start from")
    parser.add_argument("--test", type=Path, help="list of the test split")
    _add_faces(parser, detector="none")
    parser.set_defaults(run=lambda options: _prepare_list(options) or report(options))


def natural(text: str) -> int:
    """A whole number of an option, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 0 or more")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 1 or more")
    return int(text)


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a number above 0 and below 1e9")
    return number


def _add_faces(parser: argparse.ArgumentParser, *, detector: str) -> None:
    faces = parser.add_argument_group("faces")
    faces.add_argument("--size", type=int, default=224, help="side of a face, pixels (default 224)")
    faces.add_argument(
        "--detector",
        choices=("mtcnn", "yunet", "none"),
        default=detector,
        help=f"finds the points to align by; none: the box or picture as it is (default {detector})",
    )
    faces.add_argument("--detector-model", type=Path, metavar="FILE", help="YuNet's .onnx file")
    faces.add_argument(
        "--margin",
        type=float,
        default=0.5,
        help="shown around a box, fraction of its longer side (default 0.5)",
    )
    faces.add_argument(
        "--no-face",
        choices=("drop", "box"),
        default="drop",
        help="where none is found in a box: drop it, or take the box unaligned (default drop)",
    )
    faces.add_argument("--no-refine", action="store_true", help="faster; points and turned faces are found worse")
    faces.add_argument("--workers", type=natural, default=0, help="processes that cut faces (default: one per core)")


def _extraction(options: argparse.Namespace) -> Extraction:
    from fecnet.prepare.extraction import Extraction

    return Extraction(
        size=options.size,
        detector="" if options.detector == "none" else options.detector,
        model=str(options.detector_model or ""),
        margin=options.margin,
        no_face=options.no_face,
        refine=not options.no_refine,
    )


def _prepare_fec(options: argparse.Namespace) -> int:
    from fecnet.prepare.fec import prepare_fec

    download: dict[str, Any] = {
        "workers": options.connections,
        "per_host": options.per_host,
        "timeout_s": options.timeout,
        "max_bytes": max(1, int(options.max_mb * 2**20)),
        "retry_failed": options.retry_failed,
        "allow_private": options.allow_private,
    }
    prepare_fec(
        _annotation_files(options.annotations, options.test),
        options.path,
        extraction=_extraction(options),
        crops=options.crops or "",
        offline=options.offline,
        min_agreement=options.min_agreement,
        workers=options.workers,
        overwrite=options.overwrite,
        download=download,
    )
    return 0


def _annotation_files(annotations: Path, test: Path | None) -> dict[str, Path]:
    """Annotation file by split."""
    if annotations.is_dir():
        found = {split: annotations / _OFFICIAL.format(split) for split in ("train", "test")}
        missing = [str(file) for file in found.values() if not file.is_file()]
        if missing:
            raise UserError(f"no such file: {', '.join(missing)}; give the folder of both files, or one file")
        return found
    return {"train": annotations} | ({"test": test} if test else {})


def _prepare_list(options: argparse.Namespace) -> int:
    from fecnet.prepare.fec import prepare_list

    prepare_list(
        {"train": options.train} | ({"test": options.test} if options.test else {}),
        options.pictures,
        options.path,
        extraction=_extraction(options),
        workers=options.workers,
        overwrite=options.overwrite,
    )
    return 0
