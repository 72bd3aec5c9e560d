"""``fecnet <command>``: all that is not training or inference. ``--help`` imports neither torch nor numpy."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

import fecnet
from fecnet.commands import (
    compare,
    costs,
    data,
    detect,
    embed,
    export,
    folds,
    prepare,
    profile,
    prune,
    report,
    runs,
    search,
    settings,
    watch,
)

# torch's C++ warns on every rank, with stack traces where a launch fails; what matters of it is told in one line
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its profiler calls a machine without GPU an error


_COMMANDS = {
    "prepare": (prepare, "make a packed data set"),
    "data": (data, "show what a packed data set holds, or check it"),
    "detect": (detect, "find faces in photos: boxes, scores, five points"),
    "folds": (folds, "train a recipe on each of its folds, and measure all together"),
    "embed": (embed, "embeddings of photos, folders, packed sets and videos"),
    "watch": (watch, "faces of a camera, a video or a picture, with what a net says of each"),
    "search": (search, "find the faces whose expressions are most alike"),
    "export": (export, "write a trained net as a bundle, ONNX, torch.export or int8 file, checked on real faces"),
    "runs": (runs, "list training runs: state, iteration, best accuracy, data, date"),
    "compare": (compare, "compare settings over seeds: learning curves, a table, and what may be claimed"),
    "report": (report, "write one HTML page of runs: curves, tables, failures, a map of faces, provenance"),
    "prune": (prune, "make a smaller net from a trained run: network slimming"),
    "costs": (costs, "compare runs: parameters, multiplications, file size, time on the CPU, accuracy"),
    "profile": (profile, "where an iteration of training spends its time, and how near the machine's limit it is"),
    "config": (settings, "print every configuration key with its meaning, as Markdown"),
}


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
    from fecnet.utils import rendezvous

    return rendezvous.first_to_say(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the ``fecnet`` command."""
    parser = argparse.ArgumentParser(
        prog="fecnet",
        description="Learn when two facial expressions look alike to people.",
        epilog="Training is `python train.py`, measuring `python inference.py`; both explain themselves with --help.",
    )
    parser.add_argument("--version", action="version", version=f"fecnet {fecnet.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        module.add(commands.add_parser(name, help=text, description=text))
    options = parser.parse_args(arguments)
    return fail_in_one_line(lambda: options.run(options))


if __name__ == "__main__":
    sys.exit(main())
