"""What ``fecnet prepare`` makes of labelled photos: square crops, aligned faces, or landmark masks and crops."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.cli.prepare_fec import add_alignment, natural
from fecnet.utils.errors import UserError

if TYPE_CHECKING:
    from fecnet.faces.landmark_faces import LandmarkFaces
    from fecnet.prepare.extraction import Extraction


def add_faces(parser: argparse.ArgumentParser) -> None:
    """Describe the options of a labelled source."""
    parser.add_argument(
        "--workers", type=natural, default=0, help="threads that crop, or processes that align (default: one per core)"
    )
    align = parser.add_argument_group(
        "alignment",
        "For photos that show more than a face: the largest face, or the face in the box of the photo, is detected and "
        "aligned. Without --align the face is the central square of each picture, or the square around its box.",
    )
    align.add_argument("--align", action="store_true", help="detect and align the faces, as prepare fec does")
    add_alignment(align)
    marks = parser.add_argument_group(
        "landmarks",
        "Five points, detected on the packed square face. Faces without a detection are kept, uncropped and with a "
        "mask of zeros; the coverage counts them.",
    )
    marks.add_argument(
        "--mask", action="store_true", help="add an attention channel that peaks at eyes, nose and mouth"
    )
    marks.add_argument("--hull", action="store_true", help="crop to the enlarged convex hull of the landmarks")
    both = parser.add_argument_group("detector", "Used by --align, --mask and --hull.")
    both.add_argument("--detector", choices=("mtcnn", "yunet"), help="detector of the landmarks (default mtcnn)")
    both.add_argument("--detector-model", type=Path, metavar="FILE", help="YuNet's .onnx file")


def read_faces(options: argparse.Namespace) -> tuple[LandmarkFaces | None, Extraction | None]:
    """What is to be made of landmarks, and how faces are aligned, each None if not at all.

    Raises:
        UserError: the detector cannot be built, or an option without what it is for.
    """
    from fecnet.faces.detect import build_detector
    from fecnet.faces.landmark_faces import LandmarkFaces
    from fecnet.prepare.extraction import Extraction

    _check(options)
    name, model = options.detector or "mtcnn", options.detector_model or ""
    if options.align:
        extraction = Extraction(
            detector=name,
            model=str(model),
            margin=options.margin,
            no_face=options.no_face,
            refine=not options.no_refine,
            try_turns=options.try_turns,
        )
        extraction.build_detector()
        return None, extraction
    if options.mask or options.hull:
        return LandmarkFaces(build_detector(name, model_path=model), mask=options.mask, hull=options.hull), None
    return None, None


def _check(options: argparse.Namespace) -> None:
    marks = options.mask or options.hull
    if options.align and marks:
        raise UserError("--align: with --mask or --hull, which are made on square crops; allowed: one of them")
    given = {"--detector-model": options.detector_model, "--detector": options.detector}
    if not (options.align or marks) and (idle := [name for name, value in given.items() if value]):
        raise UserError(f"{idle[0]} {given[idle[0]]}: nothing to detect; give --align, --mask or --hull with it")
    changed = {
        "--margin": options.margin != 0.5,
        "--no-face": options.no_face != "drop",
        "--no-refine": options.no_refine,
        "--try-turns": options.try_turns,
    }
    if not options.align and (idle := [name for name, is_changed in changed.items() if is_changed]):
        raise UserError(f"{idle[0]}: nothing is aligned; give --align with it")
