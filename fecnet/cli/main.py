"""``fecnet <command>``: all that is not training or inference. ``--help`` imports neither torch nor numpy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fecnet.cli import (
    compare,
    config,
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
    watch,
)
from fecnet.cli.json_option import STDOUT
from fecnet.utils.package import VERSION
from fecnet.utils.program import fail_in_one_line
from fecnet.utils.terminal import log_to_terminal

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
    "config": (config, "print every configuration key with its meaning, as Markdown"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the ``fecnet`` command."""
    parser = argparse.ArgumentParser(
        prog="fecnet",
        description="Learn when two facial expressions look alike to people.",
        epilog="Training is `python train.py`, measuring `python inference.py`; both explain themselves with --help.",
    )
    parser.add_argument("--version", action="version", version=f"fecnet {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        module.add(commands.add_parser(name, help=text, description=text))
    options = parser.parse_args(arguments)
    return fail_in_one_line(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if getattr(options, "json", "") == STDOUT:  # nothing but JSON there
        log_to_terminal(sys.stderr)
    code: int = options.run(options)
    return code
