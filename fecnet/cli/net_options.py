"""Options of all commands that open a trained net."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fecnet.faces.which import MEANING

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
        help="auto, cpu, cuda or one GPU such as cuda:1; a GPU that is not there is an error (default auto)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=0, metavar="N", help="faces per forward pass (default: EVAL.BATCH_SIZE)"
    )
    parser.add_argument(
        "--detector-model", default="", metavar="FILE", help="YuNet's .onnx file, where it is the detector"
    )
    parser.add_argument("--detector-device", default="cpu", help="device of MTCNN: cpu, cuda or one GPU (default cpu)")
    add_try_turns(parser)


def add_faces_option(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    """Describe ``--faces``, of everything that uses a net on pictures."""
    parser.add_argument(
        "--faces",
        choices=tuple(MEANING),
        default=default,
        help="; ".join(f"{name}: {meaning}" for name, meaning in MEANING.items()) + f" (default {default})",
    )


def add_try_turns(parser: argparse._ActionsContainer) -> None:
    """Describe ``--try-turns``, of everything that detects faces."""
    parser.add_argument(
        "--try-turns",
        action="store_true",
        help="where no face is found, look at the photo turned by 90, 270 and 180 degrees; for photos without EXIF",
    )


def open_net(options: argparse.Namespace) -> Encoder:
    """The net ``options.net``, as ``fecnet.load`` opens it; on a CPU the process keeps freed memory from then on."""
    from fecnet.encoder.build import load_encoder
    from fecnet.utils.errors import UserError
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
