"""``fecnet prepare SOURCE``: from raw material to a packed data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fecnet.commands.prepare_fec import add_fec, add_list


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the sources and their options."""
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")

    synthetic = sources.add_parser("synthetic", help="drawn faces with simulated raters; needs no download")
    synthetic.add_argument("--size", type=int, default=48, help="side of a face, pixels (default 48)")
    synthetic.set_defaults(run=_prepare_synthetic)

    ferplus = sources.add_parser("ferplus", help="FER2013 faces, both label sets, triplets from FERPlus votes")
    ferplus.add_argument("fer2013", type=Path, help="fer2013.npz or the folder that holds it")
    ferplus.set_defaults(run=_prepare_ferplus)

    fec = sources.add_parser("fec", help="Google's FEC: annotation files, photos from the web, aligned faces")
    add_fec(fec, _report)
    listed = sources.add_parser("list", help="a list img1,img2,img3,label,type with a folder of pictures")
    add_list(listed, _report)
    for source in (fec, listed):
        source.add_argument("path", type=Path, help="folder to make, such as datasets/fec")
        source.add_argument("--overwrite", action="store_true", help="replace the data set that stands at PATH")
        source.add_argument("--sheet", type=Path, help="also write a contact sheet of faces to this PNG")

    for source in (synthetic, ferplus):
        source.add_argument("path", type=Path, help="folder to make, such as datasets/demo")
        source.add_argument("--seed", type=_seed, default=0, help="the same seed gives the same data set (default 0)")
        source.add_argument("--overwrite", action="store_true", help="replace the data set that stands at PATH")
        source.add_argument("--sheet", type=Path, help="also write a contact sheet of faces to this PNG")


def prepare(arguments: Sequence[str]) -> None:
    """``fecnet prepare ARGUMENTS`` inside a running program.

    Raises:
        ValueError: as the source's ``prepare_*`` function.
    """
    parser = argparse.ArgumentParser(prog="fecnet prepare")
    add(parser)
    options = parser.parse_args(arguments)
    options.run(options)


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 0 or more")
    return int(text)


def _prepare_synthetic(options: argparse.Namespace) -> int:
    from fecnet.prepare.synthetic import prepare_synthetic

    prepare_synthetic(options.path, seed=options.seed, size=options.size, overwrite=options.overwrite)
    return _report(options)


def _prepare_ferplus(options: argparse.Namespace) -> int:
    from fecnet.prepare.ferplus import prepare_ferplus

    prepare_ferplus(options.fer2013, options.path, seed=options.seed, overwrite=options.overwrite)
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    """Say what was made, from the data set itself."""
    from fecnet.data.packed import PackedDataset
    from fecnet.evaluation.contact_sheet import contact_sheet
    from fecnet.evaluation.coverage import format_coverage

    dataset = PackedDataset(options.path)
    print(f"{options.path}: {len(dataset.faces_NHWC):,} faces of {dataset.faces_NHWC.shape[1:]}")
    print(format_coverage(dataset.coverage))
    if options.sheet:
        step = max(1, len(dataset.faces_NHWC) // 96)
        contact_sheet(dataset.faces_NHWC[::step][:96], 12, options.sheet)
    return 0
