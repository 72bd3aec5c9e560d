"""``fecnet <command>``: all that is not training or inference. ``--help`` imports neither torch nor numpy."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import fecnet

# torch's C++ warns on every rank, with stack traces where a launch fails; what matters of it is told in one line
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def fail_in_one_line(run: Callable[[], int]) -> int:
    """Run ``run``; what a user can cause becomes one ``error:`` line and exit code 2.

    ``FECNET_DEBUG=1`` shows the traceback instead. SIGTERM unwinds too, so that what is half-written is
    removed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run()
    except (ValueError, OSError) as error:
        if os.environ.get("FECNET_DEBUG"):
            raise
        if _first_to_say(str(error)):
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _first_to_say(text: str) -> bool:
    """Whether this process prints an error that all ranks of a launch may have met."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from fecnet.utils import comm

    return comm.first_to_say(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the ``fecnet`` command."""
    parser = argparse.ArgumentParser(
        prog="fecnet",
        description="Learn when two facial expressions look alike to people.",
        epilog="Training is `python train.py`, measuring `python inference.py`; both explain themselves with --help.",
    )
    parser.add_argument("--version", action="version", version=f"fecnet {fecnet.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_prepare(commands.add_parser("prepare", help="make a packed data set"))
    runs = commands.add_parser("runs", help="list training runs: state, iteration, best accuracy, data, date")
    runs.add_argument("folder", nargs="?", type=Path, default=Path("result"), help="folder of runs (default result)")
    runs.set_defaults(run=_runs)
    settings = commands.add_parser("config", help="print every configuration key with its meaning, as Markdown")
    settings.set_defaults(run=_config)
    options = parser.parse_args(arguments)
    return fail_in_one_line(lambda: options.run(options))


def prepare(arguments: Sequence[str]) -> None:
    """``fecnet prepare ARGUMENTS`` inside a running program.

    Raises:
        ValueError: as the source's ``prepare_*`` function.
    """
    parser = argparse.ArgumentParser(prog="fecnet prepare")
    _add_prepare(parser)
    options = parser.parse_args(arguments)
    options.run(options)


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")

    synthetic = sources.add_parser("synthetic", help="drawn faces with simulated raters; needs no download")
    synthetic.add_argument("--size", type=int, default=48, help="side of a face, pixels (default 48)")
    synthetic.set_defaults(run=_prepare_synthetic)

    ferplus = sources.add_parser("ferplus", help="FER2013 faces, both label sets, triplets from FERPlus votes")
    ferplus.add_argument("fer2013", type=Path, help="fer2013.npz or the folder that holds it")
    ferplus.set_defaults(run=_prepare_ferplus)

    for source in (synthetic, ferplus):
        source.add_argument("path", type=Path, help="folder to make, such as datasets/demo")
        source.add_argument("--seed", type=_seed, default=0, help="the same seed gives the same data set (default 0)")
        source.add_argument("--overwrite", action="store_true", help="replace the data set that stands at PATH")
        source.add_argument("--sheet", type=Path, help="also write a contact sheet of faces to this PNG")


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
    from fecnet.inference import format_coverage

    dataset = PackedDataset(options.path)
    print(f"{options.path}: {len(dataset.faces_NHWC):,} faces of {dataset.faces_NHWC.shape[1:]}")
    print(format_coverage(dataset.coverage))
    if options.sheet:
        step = max(1, len(dataset.faces_NHWC) // 96)
        contact_sheet(dataset.faces_NHWC[::step][:96], 12, options.sheet)
    return 0


def _runs(options: argparse.Namespace) -> int:
    from fecnet.engine.runs import find_runs, format_runs

    runs = find_runs(options.folder)
    print(format_runs(runs) if runs else f"{options.folder}: no runs; train one with: python train.py")
    return 0


def _config(options: argparse.Namespace) -> int:
    from fecnet.config.document import config_page

    print(config_page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
