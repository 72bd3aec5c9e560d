"""``fecnet prepare SOURCE``: import a data set."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.cli.prepare_faces import add_faces, read_faces
from fecnet.cli.prepare_fec import add_fec, add_list, add_study, add_triplets, natural
from fecnet.prepare.people import HELP
from fecnet.utils.errors import UserError

if TYPE_CHECKING:
    from fecnet.prepare.labelled.labelled_source import LabelledSource

# Labelled sources, by their name in fecnet/prepare/labelled/readers.py: help, what IN is.
_LABELLED = {
    "fer2013": (
        "FER2013 with its seven labels",
        "fer2013.csv or icml_face_data.csv, train.csv, fer2013.npz, a folder with one, or the Kaggle folders",
    ),
    "ckplus": (
        "CK+, the last three frames of each sequence, or 920 faces of eight classes",
        "ckplus48.npz, CK+48 folders, CK+ as published, or ckextended.csv",
    ),
    "rafdb": (
        "RAF-DB, basic or compound expressions",
        "folder with EmoLabel and Image/aligned, or with train_labels.csv and test_labels.csv, or class folders",
    ),
    "affectnet": (
        "AffectNet, eight labels, valence, arousal",
        "folder with training.csv, validation.csv, one CSV, or folder with train_set/annotations, …",
    ),
    "expw": ("Expression in-the-Wild", "folder with label.lst and origin, or the list"),
    "jaffe": ("JAFFE, expression and person from the file names", "folder with KA.AN1.39.tiff, at any depth"),
    "kdef": ("KDEF, expression and person from the file names", "folder with AF01/AF01ANS.JPG, at any depth"),
    "folder": (
        "images in folders named after their class",
        "folder of <class>/*.jpg, with splits above or below, such as train/<class>/*.jpg; see --levels",
    ),
    "csv": (
        "any list of images",
        "CSV file with the columns path,label and optionally split,subject and boxes x1,y1,x2,y2 in pixels, or other "
        "usual names; or with votes",
    ),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the sources and their options."""
    parser.epilog = (
        f"'SOURCE --help' lists the options of a source. Labelled sources ({', '.join(_LABELLED)}) take --align, which "
        "detects and aligns the face of each photo, or --mask and --hull: an attention channel and a crop from the "
        "landmarks of each square face."
    )
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")

    synthetic = sources.add_parser("synthetic", help="synthetic faces with simulated annotators; no download")
    synthetic.add_argument("--size", type=int, default=48, help="side of a face, pixels (default 48)")
    synthetic.add_argument(
        "--crowd",
        action="store_true",
        help="each training triplet is answered by three of twelve raters with known error rates, four of whom nearly "
        "guess and two copy others; val and test have no errors (default: six annotators who err on hard triplets)",
    )
    synthetic.set_defaults(run=_prepare_synthetic)

    ferplus = sources.add_parser("ferplus", help="FER2013 faces, both label sets, triplets from FERPlus votes")
    ferplus.add_argument(
        "fer2013",
        type=Path,
        help="fer2013.npz, or a folder with it, with fer2013.csv and fer2013new.csv, or with FERPlus's FER2013Train, …",
    )
    _add_label_noise(ferplus)
    ferplus.set_defaults(run=_prepare_ferplus)

    fec = sources.add_parser("fec", help="Google's FEC: annotations, downloaded photos, aligned faces")
    add_fec(fec, _report)
    add_list(
        sources.add_parser("list", help="a triplet list img1,img2,img3,label,type with a folder of images"), _report
    )

    add_triplets(sources.add_parser("triplets", help="raters' answers to triplets of your own photos"), _report)
    add_study(sources.add_parser("study", help="a study of fecnet rate: pictures and answers"), _report)

    for name, (text, wanted) in _LABELLED.items():
        _add_labelled(sources.add_parser(name, help=text, description=text), wanted)
    sources.choices["csv"].add_argument(
        "--path-column", metavar="NAME", help="column of the paths (default path, or another common name)"
    )
    sources.choices["csv"].add_argument(
        "--label-column", metavar="NAME", help="column of the labels (default label, or another common name)"
    )
    sources.choices["csv"].add_argument(
        "--allow-absolute", action="store_true", help="also take images by absolute paths, from anywhere"
    )
    sources.choices["folder"].add_argument(
        "--levels",
        metavar="LEVEL/…",
        help="what the folders of each level below IN name: split, subject, class, or - for nothing, such as "
        "subject/class; levels below are not read (default: splits by their words, else <class> alone)",
    )
    sources.choices["csv"].add_argument(
        "--votes",
        type=lambda text: text.split(","),
        metavar="CLASS,CLASS,…",
        help="columns with the votes for each class, instead of the column label; allows triplets of all three types",
    )

    auto = sources.add_parser("auto", help="say which source fits a folder or file, and why; nothing is prepared")
    auto.description = "Say which source fits, by names and first lines, and the command to type. Nothing is prepared."
    auto.add_argument("input", type=Path, metavar="IN", help="folder or file")
    auto.set_defaults(run=_recognise)

    for name, source in sources.choices.items():
        if name == "auto":
            continue
        source.add_argument("path", type=Path, help="folder to write, such as datasets/demo")
        if name not in ("fec", "list", "study"):  # nothing is random there
            source.add_argument("--seed", type=natural, default=0, help="random seed (default 0)")
        source.add_argument("--overwrite", action="store_true", help="replace an existing data set at PATH")
        source.add_argument("--sheet", type=Path, help="also write a contact sheet of faces as PNG")


def _add_labelled(parser: argparse.ArgumentParser, wanted: str) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help=wanted)
    parser.add_argument("--size", type=natural, help="side of a face, pixels (default: as published, 112 for lists)")
    parser.add_argument("--grey", action="store_true", help="one channel (default: as published)")
    parser.add_argument(
        "--triplets",
        type=natural,
        default=0,
        metavar="N",
        help="triplets of the training split, or of the only split (default 0); labels give two-class triplets only, "
        "votes all three types (csv --votes, ferplus)",
    )
    parser.add_argument(
        "--eval-triplets", type=natural, default=0, metavar="N", help="triplets of each other split (default 0)"
    )
    parser.add_argument(
        "--hold-out-subjects",
        metavar="[VAL,]TEST",
        help=f"{HELP}For sources with subjects and without splits; before triplets are made",
    )
    _add_label_noise(parser)
    add_faces(parser)
    parser.set_defaults(run=_prepare_labelled)


def _add_label_noise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-noise",
        type=float,
        default=0.0,
        metavar="R",
        help="add a label set with this fraction of wrong training labels, 0 to 1 (default 0: none)",
    )


def _recognise(options: argparse.Namespace) -> int:
    from fecnet.prepare.recognition import recognise

    fit = recognise(options.input)
    name = options.input.resolve()
    target = f"datasets/{name.stem if name.is_file() else name.name}"
    print(f"{options.input}: {fit.source} fits: {fit.why}")
    print(shlex.join(["fecnet", "prepare", fit.source, *fit.words, target]))
    if fit.source in ("csv", "folder", "kdef", "jaffe", "triplets"):
        print("photos that show more than the face: with --align")
    return 0


def _prepare_synthetic(options: argparse.Namespace) -> int:
    from fecnet.prepare.synthetic import prepare_synthetic

    prepare_synthetic(
        options.path, seed=options.seed, size=options.size, crowd=options.crowd, overwrite=options.overwrite
    )
    return _report(options)


def _prepare_ferplus(options: argparse.Namespace) -> int:
    from fecnet.prepare.ferplus import prepare_ferplus

    prepare_ferplus(
        options.fer2013,
        options.path,
        label_noise=options.label_noise,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    return _report(options)


def _prepare_labelled(options: argparse.Namespace) -> int:
    from fecnet.prepare.labelled.labelled import prepare_labelled
    from fecnet.prepare.people import parse_shares

    shares = None if options.hold_out_subjects is None else parse_shares(options.hold_out_subjects)
    landmarks, extraction = read_faces(options)  # first: a missing detector should not cost a long reading
    prepare_labelled(
        _read_labelled(options),
        options.path,
        size=options.size,
        channels="grey" if options.grey else None,
        landmarks=landmarks,
        extraction=extraction,
        workers=options.workers,
        hold_out_subjects=shares,
        num_train_triplets=options.triplets,
        num_eval_triplets=options.eval_triplets,
        label_noise=options.label_noise,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    return _report(options)


def _read_labelled(options: argparse.Namespace) -> LabelledSource:
    """What the reader of the source finds, with the options that only it has."""
    from fecnet.prepare.labelled.class_folders import read_folder
    from fecnet.prepare.labelled.csv_list import read_csv_list, read_csv_votes
    from fecnet.prepare.labelled.readers import READERS

    if options.source == "folder":
        return read_folder(options.input, options.levels)
    if options.source != "csv":
        return READERS[options.source](options.input)
    if options.votes and options.label_column:
        raise UserError(f"--label-column {options.label_column}: allowed: without --votes, which names the labels")
    if options.votes:
        return read_csv_votes(options.input, options.votes, options.path_column, allow_absolute=options.allow_absolute)
    return read_csv_list(
        options.input, options.path_column, options.label_column, allow_absolute=options.allow_absolute
    )


def _report(options: argparse.Namespace) -> int:
    """Say what was made, from the data set itself."""
    from fecnet.data.packed import PackedDataset
    from fecnet.data.rater_agreement import format_agreements, split_half_agreements
    from fecnet.evaluation.contact_sheet import contact_sheet
    from fecnet.evaluation.coverage import format_coverage
    from fecnet.faces.picture_files import decoder_hint

    dataset = PackedDataset(options.path)
    print(f"{options.path}: {len(dataset.faces_NHWC):,} faces of {dataset.faces_NHWC.shape[1:]}")
    coverage = format_coverage(dataset.coverage)
    print(f"{coverage}{decoder_hint(coverage)}")
    if agreements := split_half_agreements(dataset):
        print(format_agreements(agreements))
    if options.sheet:
        step = max(1, len(dataset.faces_NHWC) // 96)
        contact_sheet(dataset.faces_NHWC[::step][:96], 12, options.sheet)
    return 0
