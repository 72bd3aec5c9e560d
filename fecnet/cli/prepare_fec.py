"""``fecnet prepare fec``, ``list`` and ``triplets``: annotated triplets, with photos or images."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fecnet.cli.net_options import add_try_turns
from fecnet.prepare.people import HELP, parse_shares
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

if TYPE_CHECKING:
    from fecnet.prepare.extraction import Extraction

_TYPES = "ONE_CLASS_TRIPLET, TWO_CLASS_TRIPLET, THREE_CLASS_TRIPLET, or one, two, three"  # TYPE_WORDS, without torch
_OFFICIAL = "faceexp-comparison-data-{}-public.csv"


def add_fec(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], int]) -> None:
    """Describe ``fecnet prepare fec``; ``report`` says what was made."""
    parser.description = (
        "Read FEC's annotation files, download the photos, crop, align and pack the faces. Intermediate results are "
        "kept in PATH.work: repeat an interrupted command to resume; nothing is downloaded twice."
    )
    parser.add_argument("annotations", type=Path, help=f"folder with {_OFFICIAL.format('{train,test}')}, or one file")
    parser.add_argument("--test", type=Path, help="annotation file of the test split, if the first is one file")
    parser.add_argument(
        "--min-agreement", type=float, default=2 / 3, help="minimum share of annotators that agree (default 2/3)"
    )
    parser.add_argument("--offline", action="store_true", help="download nothing; pack the photos on disk")
    parser.add_argument(
        "--crops",
        type=Path,
        metavar="DIR",
        help="existing face crops, listed in DIR/crops.csv (url,left,right,top,bottom,path)",
    )
    web = parser.add_argument_group("download")
    web.add_argument("--connections", type=_positive, default=32, help="concurrent requests (default 32)")
    web.add_argument("--per-host", type=_positive, default=4, help="concurrent requests per host:port (default 4)")
    web.add_argument("--timeout", type=_amount, default=60.0, help="seconds per photo (default 60)")
    web.add_argument("--max-mb", type=_amount, default=30.0, help="maximum size of a photo, MiB (default 30)")
    web.add_argument("--retry-failed", action="store_true", help="retry photos that failed permanently")
    web.add_argument(
        "--placeholder",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="picture that a host sends in place of a photo that is gone: such answers count as dead; repeat for more",
    )
    web.add_argument("--allow-private", action="store_true", help="allow private and loopback addresses")
    _add_faces(parser, detector="mtcnn")
    parser.set_defaults(run=lambda options: _prepare_fec(options) or report(options))


def add_list(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], int]) -> None:
    """Describe ``fecnet prepare list``; ``report`` says what was made."""
    parser.description = (
        "Read triplet lists as written by the original code, or by a data-frame library with a header, an index "
        "column and columns in any order, separated by commas, semicolons, tabs or white space. The type is one of "
        f"{_TYPES}, in upper or lower case. Columns votes_1,votes_2,votes_3 are stored as the numbers of annotators "
        "who chose each image."
    )
    parser.add_argument(
        "train",
        type=Path,
        help="triplet list, lines img1,img2,img3,label,type; label: the odd one out, 1..3 (or 0..2 in all lines)",
    )
    parser.add_argument("pictures", type=Path, help="folder that the paths are relative to")
    parser.add_argument("--test", type=Path, help="triplet list of the test split")
    parser.add_argument(
        "--allow-absolute", action="store_true", help="also accept absolute paths of images, in any folder"
    )
    _add_faces(parser, detector="none")
    parser.set_defaults(run=lambda options: _prepare_list(options) or report(options))


def add_triplets(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], int]) -> None:
    """Describe ``fecnet prepare triplets``; ``report`` says what was made."""
    parser.description = (
        "Read the answers of raters to triplets of your own photos: a table with a header and columns in any order. "
        "It has a row for each answer (a,b,c,odd,rater) or a row for each triplet (a,b,c,votes_a,votes_b,votes_c). "
        "a, b and c are paths of photos. odd is the path of one of them, its column a, b or c, or its number 1..3 "
        "(or 0..2 in the whole table). Optional columns are split, subject_a,subject_b,subject_c, and type, which is "
        f"one of {_TYPES}, in upper or lower case (default two-class). Every answer is kept; triplets without a "
        "majority are dropped and counted as ties."
    )
    parser.add_argument("answers", type=Path, metavar="FILE", help="the table")
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="folder that the paths are relative to")
    parser.add_argument("--allow-absolute", action="store_true", help="also accept absolute paths of photos")
    parser.add_argument(
        "--hold-out-subjects",
        metavar="[VAL,]TEST",
        help=f"{HELP}For tables with subjects and without splits; triplets with people of different splits are dropped",
    )
    _add_faces(parser, detector="none")
    parser.set_defaults(run=lambda options: _prepare_triplets(options) or report(options))


def add_study(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], int]) -> None:
    """Describe ``fecnet prepare study``; ``report`` says what was made."""
    parser.description = (
        'Pack a study of fecnet rate: its pictures and every answer that counts. "Cannot tell" counts as no '
        "answer. Controls, repeated answers and answers of excluded raters are left out."
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder made by fecnet rate new")
    _add_faces(parser, detector="none")
    parser.set_defaults(size=None)  # that of the pictures, where all are squares of one size
    parser.set_defaults(run=lambda options: _prepare_study(options) or report(options))


def natural(text: str) -> int:
    """A whole number of an option, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{shown(text)}; allowed: 0 or more")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{shown(text)}; allowed: 1 or more")
    return int(text)


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{shown(text)}; allowed: a number above 0 and below 1e9")
    return number


def _add_faces(parser: argparse.ArgumentParser, *, detector: str) -> None:
    faces = parser.add_argument_group("faces")
    faces.add_argument("--size", type=int, default=224, help="side of a face, pixels (default 224)")
    faces.add_argument(
        "--detector",
        choices=("mtcnn", "yunet", "none"),
        help=f"detector of the landmarks for alignment; none: box or image unaligned (default {detector})",
    )
    if detector == "none":
        faces.add_argument("--align", action="store_true", help="detect and align faces, by mtcnn or the --detector")
    faces.set_defaults(default_detector=detector)
    faces.add_argument("--grey", action="store_true", help="one channel (default: three)")
    faces.add_argument("--detector-model", type=Path, metavar="FILE", help="YuNet's .onnx file")
    add_alignment(faces)
    faces.add_argument(
        "--workers", type=natural, default=0, help="processes that extract faces (default: one per core)"
    )


def add_alignment(faces: argparse._ActionsContainer) -> None:
    """Describe how faces are detected and aligned, for all sources of photos."""
    faces.add_argument(
        "--margin",
        type=float,
        default=0.5,
        help="context around a box, fraction of its longer side (default 0.5)",
    )
    faces.add_argument(
        "--no-face",
        choices=("drop", "box"),
        default="drop",
        help="without a detection: drop, or use the box, or the whole photo without one, unaligned (default drop)",
    )
    faces.add_argument(
        "--no-refine", action="store_true", help="faster; less accurate landmarks, lower recall of rotated faces"
    )
    add_try_turns(faces)


def _extraction(options: argparse.Namespace) -> Extraction:
    from fecnet.prepare.extraction import Extraction

    align = getattr(options, "align", False)
    if align and options.detector == "none":
        raise UserError("--align: with --detector none; allowed: mtcnn, yunet")
    detector = options.detector or ("mtcnn" if align else options.default_detector)
    return Extraction(
        size=options.size,
        detector="" if detector == "none" else detector,
        model=str(options.detector_model or ""),
        margin=options.margin,
        no_face=options.no_face,
        refine=not options.no_refine,
        try_turns=options.try_turns,
        grey=options.grey,
    )


def _prepare_fec(options: argparse.Namespace) -> int:
    from fecnet.prepare.fec import prepare_fec
    from fecnet.utils.files import hash_file

    download: dict[str, Any] = {
        "workers": options.connections,
        "per_host": options.per_host,
        "timeout_s": options.timeout,
        "max_bytes": max(1, int(options.max_mb * 2**20)),
        "retry_failed": options.retry_failed,
        "allow_private": options.allow_private,
        "placeholders": [hash_file(file) for file in options.placeholder],
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


def _prepare_triplets(options: argparse.Namespace) -> int:
    from fecnet.prepare.fec import prepare_triplets

    prepare_triplets(
        options.answers,
        options.pictures,
        options.path,
        extraction=_extraction(options),
        allow_absolute=options.allow_absolute,
        hold_out_subjects=None if options.hold_out_subjects is None else parse_shares(options.hold_out_subjects),
        seed=options.seed,
        workers=options.workers,
        overwrite=options.overwrite,
    )
    return 0


def _prepare_study(options: argparse.Namespace) -> int:
    from fecnet.rate.packing import plain_extraction, prepare_study
    from fecnet.rate.study import Study

    size, options.size = options.size, options.size or 224
    with Study(options.study) as study:
        prepare_study(
            study,
            options.path,
            extraction=plain_extraction(study, _extraction(options), size=size),
            workers=options.workers,
            overwrite=options.overwrite,
        )
    return 0


def _prepare_list(options: argparse.Namespace) -> int:
    from fecnet.prepare.fec import prepare_list

    prepare_list(
        {"train": options.train} | ({"test": options.test} if options.test else {}),
        options.pictures,
        options.path,
        extraction=_extraction(options),
        allow_absolute=options.allow_absolute,
        workers=options.workers,
        overwrite=options.overwrite,
    )
    return 0
