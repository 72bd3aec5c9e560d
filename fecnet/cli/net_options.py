"""Options of all commands that open a trained net."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

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


def open_net(options: argparse.Namespace) -> Encoder:
    """The net ``options.net``, as ``fecnet.load`` opens it; on a CPU the process keeps freed memory from then on."""
    from fecnet.encoder.build import load_encoder
    from fecnet.utils.memory import keep_freed_memory

    encoder = load_encoder(
        options.net,
        checkpoint=options.checkpoint,
        device=options.device,
        batch_size=options.batch_size,
        detector_model=options.detector_model,
        detector_device=options.detector_device,
    )
    if encoder.device.type == "cpu":
        keep_freed_memory()
    return encoder
