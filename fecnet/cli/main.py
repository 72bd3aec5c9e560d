"""``fecnet <command>``. ``--help`` imports neither torch nor numpy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fecnet.cli import (
    analyze,
    compare,
    config,
    costs,
    data,
    detect,
    embed,
    evaluate,
    export,
    folds,
    models,
    odd,
    prepare,
    profile,
    prune,
    rate,
    recipes,
    report,
    runs,
    search,
    serve,
    train,
    watch,
)
from fecnet.cli.json_option import STDOUT
from fecnet.utils.package import VERSION
from fecnet.utils.program import run_program
from fecnet.utils.terminal import log_to_terminal

# torch's C++ code prints warnings on every rank, and stack traces where a launch fails; fecnet reports them in one line
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its profiler logs an error on machines without a GPU


_COMMANDS = {
    "train": (train, "train a net from a recipe, or resume a run"),
    "evaluate": (evaluate, "evaluate a trained net on triplets, classes, or both, as it was trained"),
    "recipes": (recipes, "list the recipes that come with fecnet, or copy one"),
    "prepare": (prepare, "make a packed data set"),
    "data": (data, "show or verify a packed data set"),
    "detect": (detect, "detect faces in photos: boxes, scores, five landmarks"),
    "folds": (folds, "cross-validate a recipe"),
    "embed": (embed, "embed photos, folders, packed data sets and videos"),
    "odd": (odd, "the odd one out of three photos"),
    "analyze": (analyze, "a table of every face of photos and videos, its change over time"),
    "watch": (watch, "overlay predictions on webcam, video or images"),
    "search": (search, "retrieve the faces with the most similar expressions; measure recall and identity leak"),
    "serve": (serve, "a page to try a net on your own photos, and the same as JSON"),
    "export": (export, "export a trained net as a bundle, ONNX, torch.export or int8 file, verified on real faces"),
    "rate": (rate, "let people judge triplets of your photos: choose, serve, agreement, export"),
    "models": (models, "list the nets that come with fecnet: size, accuracy, speed, data, licence"),
    "runs": (runs, "list training runs: state, iteration, best accuracy, data, date"),
    "compare": (compare, "compare settings over seeds: learning curves, metrics, confidence intervals"),
    "report": (report, "write an HTML report of runs: curves, tables, errors, a map of the embedding, provenance"),
    "prune": (prune, "prune a trained net: network slimming"),
    "costs": (costs, "compare the costs of runs: parameters, MACs, file size, CPU time, accuracy"),
    "profile": (profile, "profile a training iteration: time per phase, utilisation of the hardware"),
    "config": (config, "print all configuration keys with their meaning, as Markdown"),
}
_INTERMIXED = ("train", "evaluate")  # options may stand between KEY VALUE pairs: argparse offers it to one parser alone


def build_parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of ``fecnet``, and that of each command by its name."""
    parser = argparse.ArgumentParser(
        prog="fecnet",
        description="Facial-expression embeddings learned from human similarity judgements.",
    )
    parser.add_argument("--version", action="version", version=f"fecnet {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in _COMMANDS.items():
        module.add(commands.add_parser(name, help=text, description=text))
    return parser, commands.choices


def parse(
    words: list[str], parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser]
) -> argparse.Namespace:
    """Parse the words of a command line with the parsers of ``build_parsers``."""
    words = _attach_values(words)
    if words and words[0] in _INTERMIXED:
        return commands[words[0]].parse_intermixed_args(words[1:])
    return parser.parse_args(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """The ``fecnet`` command, in this process: ``main(["evaluate", "result/run"])``.

    Args:
        arguments: the words after ``fecnet``; None = those of the command line.

    Returns:
        The exit code: 0, or 2 after a mistake of the user, which is printed in one line.
    """
    options = parse(list(sys.argv[1:] if arguments is None else arguments), *build_parsers())
    return run_program(lambda: _run(options))


def _attach_values(words: list[str]) -> list[str]:
    """Turn ``--levels -/class`` into ``--levels=-/class``: argparse takes a value with a leading dash for an option."""
    attached: list[str] = []
    for word in words:
        if attached and attached[-1] == "--levels" and word.startswith("-/"):
            attached[-1] += f"={word}"
        else:
            attached.append(word)
    return attached


def _run(options: argparse.Namespace) -> int:
    if getattr(options, "json", "") == STDOUT:  # nothing but JSON there
        log_to_terminal(sys.stderr)
    code: int = options.run(options)
    return code
