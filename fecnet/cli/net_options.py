"""Options of all commands that open a trained net."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.faces.which import MEANING, Which
from fecnet.utils.errors import UserError

DEFAULT_NET = "fecnet-base"  # used by commands without a given net
NET_HELP = f"run or checkpoint folder, exported net, or name of a shipped one, see fecnet models; default {DEFAULT_NET}"

if TYPE_CHECKING:
    from fecnet.encoder.encoder import Encoder


def add_net_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="checkpoint of a run (default best)"
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or one GPU such as cuda:1; a GPU that does not exist is an error (default auto)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=0, metavar="N", help="faces per forward pass (default: EVAL.BATCH_SIZE)"
    )
    parser.add_argument(
        "--detector-model", default="", metavar="FILE", help="YuNet's .onnx file, needed if YuNet is the detector"
    )
    parser.add_argument("--detector-device", default="cpu", help="device of MTCNN: cpu, cuda or one GPU (default cpu)")
    add_try_turns(parser)


def add_faces_option(
    parser: argparse.ArgumentParser, default: Which = "auto", allowed: Sequence[Which] = tuple(MEANING)
) -> None:
    """Describe ``--faces``, for commands that run a net on pictures."""
    meanings = "; ".join(f"{name}: {MEANING[name]}" for name in allowed)
    parser.add_argument("--faces", choices=allowed, default=default, help=f"{meanings} (default {default})")


def add_try_turns(parser: argparse._ActionsContainer) -> None:
    """Describe ``--try-turns``, for commands that detect faces."""
    parser.add_argument(
        "--try-turns",
        action="store_true",
        help="if no face is found, search in the photo rotated by 90, 270 and 180 degrees; for photos without EXIF",
    )


def add_net_option(parser: argparse.ArgumentParser) -> None:
    """Describe ``--net``, for commands that have it as an option."""
    parser.add_argument("--net", default=DEFAULT_NET, metavar="NET", help=NET_HELP)


def add_net_and_sources(parser: argparse.ArgumentParser, sources: str) -> None:
    """Describe the arguments ``[NET] SOURCE …``, which ``take_net`` tells apart; ``sources`` is the help of these."""
    parser.add_argument("words", nargs="+", metavar="[NET] SOURCE", help=f"NET: {NET_HELP}. SOURCE: {sources}")


def take_net(options: argparse.Namespace) -> list[Path]:
    """Set ``options.net`` to the net among the words, or to the shipped one, and return the sources.

    The first word is the net if it names one. A first word that names nothing counts as a mistyped net if sources
    follow.

    Raises:
        UserError: a net without a source.
    """
    first, *others = words = options.words
    missing = not Path(first).suffix and not Path(first).exists()
    is_given = _is_net(first) or (missing and bool(others))
    options.net, sources = (first, others) if is_given else (DEFAULT_NET, words)
    if not sources:
        raise UserError(f"{first}: a net; give the pictures too: NET SOURCE")
    return [Path(word) for word in sources]


def _is_net(word: str) -> bool:
    """Whether a word names a run, a checkpoint, an exported file or a shipped net."""
    from fecnet.nets.shipped import is_name, shipped_names

    path = Path(word)
    if path.is_dir():
        return any((path / name).exists() for name in ("meta.json", "checkpoints", "config.yaml"))
    return path.suffix in (".onnx", ".pt2") or (is_name(word) and word in shipped_names())


def open_net(options: argparse.Namespace) -> Encoder:
    """Open the net ``options.net`` with ``fecnet.load``; on a CPU, the process keeps freed memory from then on."""
    from fecnet.encoder.build import load_encoder
    from fecnet.utils.memory import keep_freed_memory

    if options.try_turns and options.faces == "whole":
        raise UserError("--try-turns: nothing is detected with --faces whole")
    encoder = load_encoder(
        options.net,
        checkpoint=options.checkpoint,
        device=options.device,
        batch_size=options.batch_size,
        detector_model=options.detector_model,
        detector_device=options.detector_device,
        try_turns=options.try_turns,
    )
    if encoder.device.type == "cpu":
        keep_freed_memory()
    return encoder
